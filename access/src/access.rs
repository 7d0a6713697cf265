//! `Access`: the keys there are, in rows, with a small cache in front for the one question every request asks.
//!
//! ```text
//! 0x30  AccessKeyId -> KeyRow      the key itself
//! 0x31  name        -> NameRow     which key has that name: names are unique
//! ```

use crate::key::owner_id;
use crate::secret::random_key_id;
use crate::temporary::Token;
use crate::{
    Error, Identity, KeyRecord, KeySpec, NewKey, Permission, ROOT_NAME, Result, RootCredentials, Secret,
    TemporaryCredentials, TemporarySpec, temporary,
};
use cistern_metadata::{Commit, KeyRange, RowValue, Scan, Store, Table, Transaction};
use cistern_runtime::Clock;
use cistern_types::{AccessKeyId, AccountId, BucketName, Owner, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The most keys there may be, the root key left out.
pub const KEYS_MAX: usize = 10_000;
/// How long another process of the same store may go on accepting a key that was revoked here.
pub const IDENTITY_AGE_MAX: Duration = Duration::from_secs(30);

/// How many identities are kept in memory; at the bound all are dropped and read again.
const IDENTITIES_MAX: usize = 1024;
/// Letters of a new secret access key.
const SECRET_LETTERS: usize = 40;
/// How often a transaction is tried before it gives up against others.
const TRIES_MAX: u32 = 64;

const KEYS: Table<AccessKeyId, KeyRow> = Table::new("access keys", 0x30);
const NAMES: Table<String, NameRow> = Table::new("access key names", 0x31);

#[derive(Serialize, Deserialize)]
struct KeyRow {
    name: String,
    owner_name: String,
    bucket: Option<BucketName>,
    permission: Permission,
    created: Timestamp,
    secret: String,
}

impl RowValue for KeyRow {
    const VERSION: u8 = 1;
}

impl KeyRow {
    fn record(&self, access_key_id: AccessKeyId) -> KeyRecord {
        KeyRecord {
            name: self.name.clone(),
            access_key_id,
            owner_id: owner_id(&self.owner_name),
            owner_name: self.owner_name.clone(),
            bucket: self.bucket.clone(),
            permission: self.permission,
            created: self.created,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct NameRow {
    access_key_id: AccessKeyId,
}

impl RowValue for NameRow {
    const VERSION: u8 = 1;
}

/// The keys, and the root credentials. Clones share them.
#[derive(Debug, Clone)]
pub struct Access {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    clock: Arc<dyn Clock>,
    root: Arc<Identity>,
    api_token: Secret,
    account_id: AccountId,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    identities: HashMap<AccessKeyId, (Instant, Arc<Identity>)>,
    /// Grows with every change of the keys: what was read before a change is not kept after it.
    changes: u64,
}

impl Access {
    /// The keys in `store`, and the root key of `root`.
    pub fn new(store: Store, clock: Arc<dyn Clock>, root: RootCredentials) -> Self {
        let key = KeyRecord {
            name: ROOT_NAME.into(),
            access_key_id: root.access_key_id,
            owner_id: owner_id(ROOT_NAME),
            owner_name: ROOT_NAME.into(),
            bucket: None,
            permission: Permission::Admin,
            created: clock.now(),
        };
        let identity = Arc::new(Identity { key, secret: root.secret_access_key, scope: None });
        let (api_token, account_id) = (root.api_token, root.account_id);
        let cache = Mutex::default();
        Self { shared: Arc::new(Shared { store, clock, root: identity, api_token, account_id, cache }) }
    }

    /// Makes a key with a random id and secret. Durable and usable when it answers.
    pub async fn create_key(&self, spec: KeySpec) -> Result<NewKey> {
        spec.check()?;
        if spec.name == ROOT_NAME {
            return Err(Error::NameTaken { name: spec.name });
        }
        let row = KeyRow {
            name: spec.name,
            owner_name: spec.owner.unwrap_or_else(|| ROOT_NAME.into()),
            bucket: spec.bucket,
            permission: spec.permission,
            created: self.shared.clock.now(),
            secret: Secret::random(SECRET_LETTERS).expose().into(),
        };
        let id: AccessKeyId = random_key_id()
            .parse()
            .map_err(|_| Error::Unfit { what: "access key id", rule: "a random id must fit" })?;
        for _ in 0..TRIES_MAX {
            let mut txn = self.shared.store.begin().await?;
            if NAMES.get(&mut txn, &row.name).await?.is_some() {
                return Err(Error::NameTaken { name: row.name });
            }
            if KEYS.scan_unchecked(&txn, &Scan::first(KEYS.range(), KEYS_MAX)).await?.len() >= KEYS_MAX {
                return Err(Error::TooManyKeys { limit: KEYS_MAX });
            }
            KEYS.put(&mut txn, &id, &row)?;
            NAMES.put(&mut txn, &row.name, &NameRow { access_key_id: id.clone() })?;
            if let Commit::Committed { .. } = txn.commit().await? {
                return Ok(NewKey { record: row.record(id), secret: Secret::new(row.secret) });
            }
        }
        Err(Error::TooMuchContention { tries: TRIES_MAX })
    }

    /// All keys, the root key first, the others in the order of their ids.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>> {
        const PAGE_ROWS: usize = 1000;
        let txn = self.shared.store.read().await?;
        let mut keys = vec![self.shared.root.key.clone()];
        let mut range: KeyRange = KEYS.range();
        loop {
            let page = KEYS.scan_unchecked(&txn, &Scan::first(range.clone(), PAGE_ROWS)).await?;
            let Some((last, _)) = page.last() else { return Ok(keys) };
            range = range.after(&KEYS.key_bytes(last));
            let full = page.len() == PAGE_ROWS;
            keys.extend(page.into_iter().map(|(id, row)| row.record(id)));
            if !full {
                return Ok(keys);
            }
        }
    }

    /// Takes back the key with that id or else that name; answers what it was. Requests of this process signed with it
    /// are refused from now on, those of other processes within [`IDENTITY_AGE_MAX`].
    pub async fn revoke(&self, name_or_id: &str) -> Result<KeyRecord> {
        let root = &self.shared.root.key;
        if name_or_id == root.name || name_or_id == root.access_key_id.as_str() {
            return Err(Error::RootKey);
        }
        for _ in 0..TRIES_MAX {
            let mut txn = self.shared.store.begin().await?;
            let Some((id, row)) = find(&mut txn, name_or_id).await? else {
                return Err(Error::NoSuchKey { name_or_id: name_or_id.into() });
            };
            KEYS.delete(&mut txn, &id);
            NAMES.delete(&mut txn, &row.name);
            let decided = txn.commit().await;
            // Also after an error: whether the commit happened may be open.
            self.forget(&id);
            if let Commit::Committed { .. } = decided? {
                return Ok(row.record(id));
            }
        }
        Err(Error::TooMuchContention { tries: TRIES_MAX })
    }

    /// Who the key with this id belongs to, and its secret; `None` when there is no such key.
    pub async fn identity(&self, id: &AccessKeyId) -> Result<Option<Arc<Identity>>> {
        if *id == self.shared.root.key.access_key_id {
            return Ok(Some(Arc::clone(&self.shared.root)));
        }
        let now = Instant::now();
        let changes = {
            let cache = self.shared.cache.lock();
            if let Some((read, identity)) = cache.identities.get(id)
                && now.duration_since(*read) < IDENTITY_AGE_MAX
            {
                return Ok(Some(Arc::clone(identity)));
            }
            cache.changes
        };
        let txn = self.shared.store.read().await?;
        let Some(row) = KEYS.peek(&txn, id).await? else {
            return Ok(None);
        };
        let identity = Arc::new(Identity { key: row.record(id.clone()), secret: Secret::new(row.secret), scope: None });
        let mut cache = self.shared.cache.lock();
        if cache.changes == changes {
            if cache.identities.len() >= IDENTITIES_MAX {
                cache.identities.clear();
            }
            cache.identities.insert(id.clone(), (now, Arc::clone(&identity)));
        }
        Ok(Some(identity))
    }

    /// Makes credentials that end by themselves, under a key that there is. Nothing is stored.
    pub async fn create_temporary(&self, spec: TemporarySpec) -> Result<TemporaryCredentials> {
        let parent = self.identity(&spec.parent).await?;
        let parent = parent.ok_or_else(|| Error::NoSuchKey { name_or_id: spec.parent.to_string() })?;
        temporary::make(&parent, spec, self.shared.clock.now())
    }

    /// Who signs with the temporary credentials of `token`; refused when they have ended, with their time or their parent.
    pub async fn session(&self, id: &AccessKeyId, token: &str) -> Result<Identity> {
        let token = Token::read(token)?;
        let parent = self.identity(token.parent()).await?.ok_or(Error::InvalidToken)?;
        token.open(&parent, id, self.shared.clock.now())
    }

    fn forget(&self, id: &AccessKeyId) {
        let mut cache = self.shared.cache.lock();
        cache.identities.remove(id);
        cache.changes += 1;
    }

    /// The root key's identity.
    pub fn root(&self) -> &Identity {
        &self.shared.root
    }

    /// The owner that keys have when none is named.
    pub fn root_owner(&self) -> Owner {
        self.shared.root.owner()
    }

    /// The id of this installation in management API paths.
    pub fn account_id(&self) -> AccountId {
        self.shared.account_id
    }

    /// Whether `given` is the token of the management API, compared in constant time.
    pub fn api_token_matches(&self, given: &str) -> bool {
        self.shared.api_token.matches(given)
    }
}

async fn find(txn: &mut Transaction, name_or_id: &str) -> Result<Option<(AccessKeyId, KeyRow)>> {
    // The id first: a name can be chosen to look like one.
    if let Ok(id) = name_or_id.parse::<AccessKeyId>()
        && let Some(row) = KEYS.get(txn, &id).await?
    {
        return Ok(Some((id, row)));
    }
    let Some(named) = NAMES.get(txn, &name_or_id.to_owned()).await? else { return Ok(None) };
    Ok(KEYS.get(txn, &named.access_key_id).await?.map(|row| (named.access_key_id, row)))
}

#[cfg(feature = "testing")]
impl Access {
    /// Access control over rows in memory, with a root key whose secret is known.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        let root = RootCredentials {
            access_key_id: "CKTESTROOT".parse().expect("letters only"),
            secret_access_key: Secret::new("test-root-secret"),
            api_token: Secret::new("test-api-token"),
            account_id: AccountId::from_bytes([7; 16]),
        };
        Self::new(Store::new(Arc::new(cistern_metadata::MemoryEngine::new())), clock, root)
    }
}

#[cfg(test)]
mod tests;
