//! Browser uploads (S3's POST Object): a `multipart/form-data` body, read as a stream up to its file.
//!
//! Only the fields before the file are gathered, and no more than [`FORM_BYTES_MAX`] of them; the file is a stream of
//! the pieces as they arrive. Nothing here knows buckets or keys: who may upload is the front's to say.
//!
//! ```text
//! form.rs            boundary, parts' headers, fields           form/parameters.rs  `form-data; name="key"`
//! form/file.rs       the file, up to the closing boundary       form/signature.rs   who signed the policy
//! form/policy.rs     what the signer allows                     form/headers.rs     fields as headers of a PUT
//! form/outcome.rs    what a successful upload is answered with
//! ```

mod file;
mod headers;
mod outcome;
mod parameters;
mod policy;
mod signature;

pub(crate) use file::{FileBody, FormBodyError};
pub(crate) use headers::{InvalidField, put_headers};
pub(crate) use outcome::{SuccessAction, Uploaded};
pub(crate) use policy::{PolicyError, PostPolicy};
pub(crate) use signature::{FormSignature, SignatureError};

use bytes::{Buf, Bytes};
use file::{AfterDelimiter, Next};
use futures::{Stream, StreamExt};
use http::HeaderValue;
use parameters::Parameters;
use s3s::StdError;
use std::fmt;

/// The most bytes in front of the file: preamble, boundaries, headers and values together. S3's bound.
pub(crate) const FORM_BYTES_MAX: usize = 20 * 1024;
/// The longest value of a field; also of all values together into which the name of the file is put.
const FIELD_VALUE_BYTES_MAX: usize = 16 * 1024;
/// The most fields in front of the file.
const FIELDS_MAX: usize = 100;
/// The most header lines of a part.
const PART_HEADER_LINES_MAX: usize = 16;
/// The longest header of a part, all lines together.
const PART_HEADER_BYTES_MAX: usize = 4 * 1024;
/// The longest boundary, as RFC 2046 has it.
const BOUNDARY_BYTES_MAX: usize = 70;

/// What stands for the file's name in a field.
const FILE_NAME_VARIABLE: &str = "${filename}";
/// Fields in which nothing is put in: they are what was signed, and the signature.
const VERBATIM_FIELDS: [&str; 3] = ["policy", "signature", "x-amz-signature"];

/// Why a form could not be read up to its file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormError {
    /// The content type is another.
    #[error("Bucket POST must be of the enclosure-type multipart/form-data")]
    NotAForm,
    /// The coding is broken.
    #[error("The body of your POST request is not well-formed multipart/form-data: {reason}.")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Too much in front of the file.
    #[error(
        "Your POST request fields preceding the upload file were too large: all together may have {FORM_BYTES_MAX} \
         bytes, a value {FIELD_VALUE_BYTES_MAX}."
    )]
    FieldsTooLarge,
    /// Too many fields.
    #[error("Your POST request has too many fields preceding the upload file: it may have {FIELDS_MAX}.")]
    TooManyFields,
    /// A name came twice; which of the values would count is anyone's guess.
    #[error("The field '{name}' is given more than once; give it once.")]
    FieldTwice {
        /// Lower-case.
        name: String,
    },
    /// The form closed without a file.
    #[error("POST requires exactly one file upload per request.")]
    MissingFile,
    /// There is no `key` in front of the file.
    #[error("Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")]
    MissingKey,
    /// `key` is empty.
    #[error("User key must have a length greater than 0.")]
    EmptyKey,
    /// The connection failed.
    #[error("read the form")]
    Body(#[source] StdError),
}

fn malformed(reason: &'static str) -> FormError {
    FormError::Malformed { reason }
}

/// The fields before the file, in order. Names are lower-case and none comes twice, except `x-ignore-*`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The value of the field `name`, which is lower-case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The key to store the file under.
    pub(crate) fn key(&self) -> Result<&str, FormError> {
        match self.get("key") {
            None => Err(FormError::MissingKey),
            Some("") => Err(FormError::EmptyKey),
            Some(key) => Ok(key),
        }
    }

    fn push(&mut self, name: &str, value: String) -> Result<(), FormError> {
        let name = name.to_ascii_lowercase();
        if self.0.len() == FIELDS_MAX {
            return Err(FormError::TooManyFields);
        }
        if !name.starts_with("x-ignore-") && self.get(&name).is_some() {
            return Err(FormError::FieldTwice { name });
        }
        self.0.push((name, value));
        Ok(())
    }

    /// Puts the file's name wherever `${filename}` stands, and nothing where the file has none.
    fn put_in_file_name(&mut self, file_name: &str) -> Result<(), FormError> {
        let mut bytes = 0;
        for (name, value) in &mut self.0 {
            let places = value.matches(FILE_NAME_VARIABLE).count();
            if places > 0 && !VERBATIM_FIELDS.contains(&name.as_str()) {
                bytes += value.len() - places * FILE_NAME_VARIABLE.len() + places * file_name.len();
                if bytes > FIELD_VALUE_BYTES_MAX {
                    return Err(FormError::FieldsTooLarge);
                }
                *value = value.replace(FILE_NAME_VARIABLE, file_name);
            }
        }
        Ok(())
    }

    /// For tests: as if these had come.
    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        let mut fields = Self::default();
        for (name, value) in pairs {
            fields.push(name, (*value).to_owned()).unwrap();
        }
        fields
    }
}

/// Names only: values may be secret, such as a customer's encryption key.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// A form whose file is about to be read.
#[derive(Debug)]
pub(crate) struct Form<S> {
    /// What came before the file, the file's name put in for `${filename}`.
    pub(crate) fields: Fields,
    /// The file.
    pub(crate) file: FileBody<S>,
}

/// Reads a form up to its file. Fields after the file are ignored, as S3 does.
///
/// A part is the file when its name is `file`, with or without a file name; a file name makes no other part a file.
pub(crate) async fn read_form<S>(content_type: &HeaderValue, body: S) -> Result<Form<S>, FormError>
where
    S: Stream<Item = Result<Bytes, StdError>> + Unpin + Send,
{
    let delimiter = delimiter_of(content_type)?;
    let mut front = Front { body, piece: Bytes::new(), bytes: 0 };
    front.read_to_delimiter(&delimiter, usize::MAX).await?; // the preamble, which means nothing
    let mut fields = Fields::default();
    while front.read_whether_part_follows().await? {
        let part = front.part_header().await?;
        if part.name.eq_ignore_ascii_case("file") {
            fields.put_in_file_name(part.file_name.as_deref().unwrap_or_default())?;
            let file = FileBody::new(front.body, front.piece, delimiter);
            return Ok(Form { fields, file });
        }
        let value = front.read_to_delimiter(&delimiter, FIELD_VALUE_BYTES_MAX).await?;
        let value = String::from_utf8(value).map_err(|_| malformed("the value of a field is not UTF-8"))?;
        fields.push(&part.name, value)?;
    }
    Err(FormError::MissingFile)
}

/// What stands between two parts: a line end, two dashes, the boundary. It has no other CR than its first byte.
fn delimiter_of(content_type: &HeaderValue) -> Result<Bytes, FormError> {
    let text = content_type.to_str().map_err(|_| malformed("the Content-Type is not ASCII"))?;
    let kind = text.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        return Err(FormError::NotAForm);
    }
    let parameters = Parameters::parse(text).ok_or(malformed("the Content-Type has malformed parameters"))?;
    let boundary = parameters.get("boundary").ok_or(malformed("the Content-Type has no boundary"))?;
    let printable = boundary.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX || !printable || boundary.ends_with(' ') {
        return Err(malformed("the boundary must have 1 to 70 printable characters and not end with a space"));
    }
    Ok(Bytes::from(format!("\r\n--{boundary}")))
}

/// The header of a part.
#[derive(Debug)]
struct PartHeader {
    name: String,
    file_name: Option<String>,
}

/// What comes before the file. It is short, so it is read byte by byte: how the body is cut cannot matter.
struct Front<S> {
    body: S,
    /// What has come and was not looked at.
    piece: Bytes,
    /// How much was looked at.
    bytes: usize,
}

impl<S> Front<S>
where
    S: Stream<Item = Result<Bytes, StdError>> + Unpin + Send,
{
    async fn byte(&mut self) -> Result<u8, FormError> {
        while self.piece.is_empty() {
            match self.body.next().await {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Err(FormError::Body(error)),
                None => return Err(malformed("it ends in front of its file")),
            }
        }
        self.bytes += 1;
        if self.bytes > FORM_BYTES_MAX {
            return Err(FormError::FieldsTooLarge);
        }
        Ok(self.piece.get_u8())
    }

    /// The bytes in front of the next delimiter, which is passed too. Its line end may be the one that was read last.
    async fn read_to_delimiter(&mut self, delimiter: &[u8], bytes_max: usize) -> Result<Vec<u8>, FormError> {
        const LINE_END: &[u8] = b"\r\n";
        let mut seen = LINE_END.to_vec();
        while !seen.ends_with(delimiter) {
            seen.push(self.byte().await?);
            if seen.len().saturating_sub(LINE_END.len() + delimiter.len()) > bytes_max {
                return Err(FormError::FieldsTooLarge);
            }
        }
        let end = seen.len() - delimiter.len();
        Ok(seen.get(LINE_END.len()..end).unwrap_or_default().to_vec())
    }

    /// Reads what follows a delimiter: whether another part does.
    async fn read_whether_part_follows(&mut self) -> Result<bool, FormError> {
        let mut after = AfterDelimiter::default();
        loop {
            match after.push(self.byte().await?).ok_or(malformed("a boundary is followed by other text"))? {
                Next::More => {}
                Next::Part => return Ok(true),
                Next::Close => return Ok(false),
            }
        }
    }

    /// Reads the header of a part and the empty line after it.
    async fn part_header(&mut self) -> Result<PartHeader, FormError> {
        let mut disposition = None;
        let mut bytes_left = PART_HEADER_BYTES_MAX;
        for _ in 0..=PART_HEADER_LINES_MAX {
            let line = self.header_line(&mut bytes_left).await?;
            if line.is_empty() {
                let disposition: String = disposition.ok_or(malformed("a part has no Content-Disposition"))?;
                return part_of(&disposition);
            }
            let (name, value) = line.split_once(':').ok_or(malformed("a header line of a part has no colon"))?;
            let value = value.trim().to_owned();
            let seen = match name.to_ascii_lowercase().as_str() {
                "content-disposition" => disposition.replace(value),
                "content-transfer-encoding" if !is_plain(&value) => {
                    return Err(malformed("the Content-Transfer-Encoding of a part must be binary, 8bit or 7bit"));
                }
                _ => None,
            };
            if seen.is_some() {
                return Err(malformed("a header of a part is given twice"));
            }
        }
        Err(malformed("a part has too many header lines"))
    }

    async fn header_line(&mut self, bytes_left: &mut usize) -> Result<String, FormError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            *bytes_left = bytes_left.checked_sub(1).ok_or(malformed("the header of a part is too long"))?;
            line.push(self.byte().await?);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).map_err(|_| malformed("the header of a part is not UTF-8"))
    }
}

/// Whether a part in this transfer encoding is sent as it is.
fn is_plain(encoding: &str) -> bool {
    ["binary", "8bit", "7bit"].iter().any(|plain| encoding.eq_ignore_ascii_case(plain))
}

fn part_of(disposition: &str) -> Result<PartHeader, FormError> {
    let parameters =
        Parameters::parse(disposition).ok_or(malformed("a Content-Disposition has malformed parameters"))?;
    if !parameters.kind().eq_ignore_ascii_case("form-data") {
        return Err(malformed("the Content-Disposition of a part must be form-data"));
    }
    let name = parameters.get("name").filter(|name| !name.is_empty()).ok_or(malformed("a part has no name"))?;
    let file_name = parameters.text("filename").map(|path| base_name(&path).to_owned());
    Ok(PartHeader { name: name.to_owned(), file_name })
}

/// What follows the last slash or backslash.
fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
