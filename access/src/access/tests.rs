//! Tests of `Access`: names, owners, revoking, and that the cache never outlives a revoked key.

use super::*;
use cistern_metadata::MemoryEngine;
use cistern_runtime::TestClock;

fn fresh() -> Access {
    let root = RootCredentials {
        access_key_id: "CKROOTROOT".parse().unwrap(),
        secret_access_key: Secret::new("root-secret"),
        api_token: Secret::new("token-token"),
        account_id: AccountId::from_bytes([1; 16]),
    };
    let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_700_000_000_000)));
    Access::new(Store::new(Arc::new(MemoryEngine::new())), clock, root)
}

fn spec(name: &str, owner: Option<&str>) -> KeySpec {
    KeySpec { name: name.into(), owner: owner.map(Into::into), bucket: None, permission: Permission::ReadWrite }
}

#[tokio::test]
async fn a_new_key_is_known_at_once_with_its_secret_and_owner() {
    let access = fresh();
    let made = access.create_key(spec("laptop", Some("ada"))).await.unwrap();
    let identity = access.identity(&made.record.access_key_id).await.unwrap().unwrap();
    assert_eq!(identity.key, made.record);
    assert_eq!(identity.secret, made.secret);
    assert_eq!((identity.owner_name(), identity.owner_id()), ("ada", owner_id("ada")));
    assert_eq!(made.record.created, Timestamp::from_millis(1_700_000_000_000));
}

#[tokio::test]
async fn without_an_owner_a_key_belongs_to_the_root_owner() {
    let access = fresh();
    let made = access.create_key(spec("laptop", None)).await.unwrap();
    let root = access.root_owner();
    assert_eq!((made.record.owner_id, made.record.owner_name), (root.id, root.name));
}

#[tokio::test]
async fn a_name_is_given_once_and_free_again_after_revoking() {
    let access = fresh();
    let first = access.create_key(spec("laptop", None)).await.unwrap();
    for taken in ["laptop", ROOT_NAME] {
        let error = access.create_key(spec(taken, Some("bob"))).await.unwrap_err();
        assert!(matches!(&error, Error::NameTaken { name } if name == taken), "{error}");
    }
    access.revoke("laptop").await.unwrap();
    let second = access.create_key(spec("laptop", None)).await.unwrap();
    assert_ne!(first.record.access_key_id, second.record.access_key_id);
}

#[tokio::test]
async fn of_racing_creators_of_one_name_exactly_one_wins() {
    let access = fresh();
    let racing = (0..8).map(|_| {
        let access = access.clone();
        tokio::spawn(async move { access.create_key(spec("laptop", None)).await.is_ok() })
    });
    let mut winners = 0;
    for racer in racing.collect::<Vec<_>>() {
        winners += u32::from(racer.await.unwrap());
    }
    assert_eq!(winners, 1);
    assert_eq!(access.keys().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_though_it_was_cached() {
    let access = fresh();
    let by_name = access.create_key(spec("a", None)).await.unwrap().record;
    let by_id = access.create_key(spec("b", None)).await.unwrap().record;
    for (key, handle) in [(&by_name, "a"), (&by_id, by_id.access_key_id.as_str())] {
        assert!(access.identity(&key.access_key_id).await.unwrap().is_some());
        assert_eq!(access.revoke(handle).await.unwrap(), *key);
        assert!(access.identity(&key.access_key_id).await.unwrap().is_none());
        assert!(matches!(access.revoke(handle).await, Err(Error::NoSuchKey { .. })));
    }
}

#[tokio::test]
async fn the_key_with_an_id_is_revoked_before_one_that_is_named_so() {
    let access = fresh();
    let leaked = access.create_key(spec("leaked", None)).await.unwrap().record;
    let id = leaked.access_key_id.as_str();
    let decoy = access.create_key(spec(id, None)).await.unwrap().record;
    assert_eq!(access.revoke(id).await.unwrap(), leaked);
    assert_eq!(access.revoke(id).await.unwrap(), decoy);
}

#[tokio::test]
async fn a_key_read_before_its_revocation_is_not_cached_after_it() {
    let access = fresh();
    let key = access.create_key(spec("a", None)).await.unwrap().record;
    let id = &key.access_key_id;
    // What `identity` does, with the revocation in its middle.
    let changes = access.shared.cache.lock().changes;
    access.revoke("a").await.unwrap();
    assert_ne!(access.shared.cache.lock().changes, changes, "the reader sees that the keys changed");
    assert!(access.identity(id).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_key_revoked_by_another_process_is_refused_within_the_limit() {
    let here = fresh();
    let there = Access::new(
        here.shared.store.clone(),
        Arc::clone(&here.shared.clock),
        RootCredentials {
            access_key_id: here.root().key.access_key_id.clone(),
            secret_access_key: here.root().secret.clone(),
            api_token: here.shared.api_token.clone(),
            account_id: here.account_id(),
        },
    );
    let key = here.create_key(spec("a", None)).await.unwrap().record;
    assert!(there.identity(&key.access_key_id).await.unwrap().is_some());
    here.revoke("a").await.unwrap();
    tokio::time::advance(IDENTITY_AGE_MAX).await;
    assert!(there.identity(&key.access_key_id).await.unwrap().is_none());
}

#[tokio::test]
async fn the_root_key_is_listed_first_works_and_cannot_be_revoked() {
    let access = fresh();
    access.create_key(spec("a", None)).await.unwrap();
    let keys = access.keys().await.unwrap();
    assert_eq!((keys.len(), keys[0].name.as_str(), keys[0].permission), (2, ROOT_NAME, Permission::Admin));
    let root = access.identity(&keys[0].access_key_id).await.unwrap().unwrap();
    assert!(root.secret.matches("root-secret"));
    for handle in [ROOT_NAME, keys[0].access_key_id.as_str()] {
        assert!(matches!(access.revoke(handle).await, Err(Error::RootKey)));
    }
}

#[tokio::test]
async fn more_keys_than_a_page_are_all_listed() {
    let access = fresh();
    for number in 0..1001 {
        access.create_key(spec(&format!("key-{number}"), None)).await.unwrap();
    }
    let mut names: Vec<_> = access.keys().await.unwrap().into_iter().map(|key| key.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 1002);
}

#[tokio::test]
async fn the_cache_stays_bounded() {
    let access = fresh();
    let identity = Arc::clone(&access.shared.root);
    for number in 0..IDENTITIES_MAX {
        let id = format!("CKFILL{number}").parse().unwrap();
        access.shared.cache.lock().identities.insert(id, (Instant::now(), Arc::clone(&identity)));
    }
    let key = access.create_key(spec("a", None)).await.unwrap().record;
    assert!(access.identity(&key.access_key_id).await.unwrap().is_some());
    assert_eq!(access.shared.cache.lock().identities.len(), 1);
}

#[tokio::test]
async fn unknown_keys_and_unfit_names_are_told() {
    let access = fresh();
    assert!(access.identity(&"CKNOBODY".parse().unwrap()).await.unwrap().is_none());
    assert!(matches!(access.revoke("nobody at all").await, Err(Error::NoSuchKey { .. })));
    assert!(matches!(access.create_key(spec("", None)).await, Err(Error::Unfit { what: "key name", .. })));
    assert!(matches!(access.create_key(spec("a", Some(""))).await, Err(Error::Unfit { what: "owner name", .. })));
}

#[tokio::test]
async fn the_api_token_opens_and_nothing_else_does() {
    let access = fresh();
    assert!(access.api_token_matches("token-token"));
    for wrong in ["", "token", "token-tokenn"] {
        assert!(!access.api_token_matches(wrong));
    }
}
