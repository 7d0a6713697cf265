//! Goes through a frame by its shape before anything is made of it. The message crate reserves memory for as many elements
//! as a frame claims, reads no more than five bytes of a varint whatever they say, and does not look whether a tagged field is
//! as long as it claims; what passes here it reads in full, and with memory in proportion to the frame.

use super::shape::{Field, Kind, Shape, Structure};

/// The most elements that the arrays of a frame may have together. A topic of Metadata is 72 bytes in memory and may be 2 in
/// the frame, so the bytes alone would let a request grow to 36 times its frame. With this bound it takes 8 MiB at most,
/// whatever the frame: the largest element has 112 bytes.
pub(crate) const ELEMENTS_MAX: usize = 65_536;
/// The most tagged fields in a frame, all structures together. No client sends one that a broker needs.
pub(crate) const TAGGED_FIELDS_MAX: usize = 1_024;
/// The longest string, also where its length is a varint: what the protocol's own reader allows.
pub(crate) const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// The most bytes of a varint of 32 bits.
const VARINT_BYTES_MAX: usize = 5;

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    /// A value has fewer bytes than it takes.
    #[error("the frame or the tagged field around it ends first")]
    EndsEarly,
    /// A length or a count below -1.
    #[error("a length must be -1 or more")]
    Negative,
    /// Null where a value is needed.
    #[error("null is not allowed here")]
    Null,
    /// A varint of more than five bytes or 32 bits.
    #[error("a varint may have 32 bits in 5 bytes")]
    Varint,
    /// An array that claims more elements than could be in the bytes that are left.
    #[error("more elements than the bytes that are left can hold")]
    Count,
    /// More elements than a frame may have.
    #[error("a frame may have {ELEMENTS_MAX} array elements")]
    TooManyElements,
    /// More tagged fields than a frame may have.
    #[error("a frame may have {TAGGED_FIELDS_MAX} tagged fields")]
    TooManyTagged,
    /// A string too long.
    #[error("a string may have {STRING_BYTES_MAX} bytes")]
    LongString,
    /// A string that is no text.
    #[error("a string must be UTF-8")]
    NotUtf8,
    /// A tagged field of a later version.
    #[error("this tagged field does not exist in this version")]
    TagOfOtherVersion,
    /// A tagged field whose value is shorter than it says.
    #[error("the tagged field is shorter than its length says")]
    TagLength,
    /// The walk let it pass, the message crate did not.
    #[error("the message cannot be read")]
    Unreadable,
}

/// A flaw and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: Flaw,
    pub(super) field: &'static str,
    pub(super) at: usize,
}

type Walked<T> = Result<T, Fault>;

/// A place in a frame. Nothing is allocated.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    frame: &'a [u8],
    at: usize,
    /// Where the frame or the tagged field ends that the place is in.
    end: usize,
    /// The field the place is in.
    field: &'static str,
    elements_left: usize,
    tagged_left: usize,
}

impl<'a> Walk<'a> {
    /// The frame's beginning.
    pub(super) fn new(frame: &'a [u8]) -> Self {
        let end = frame.len();
        Self { frame, at: 0, end, field: "header", elements_left: ELEMENTS_MAX, tagged_left: TAGGED_FIELDS_MAX }
    }

    /// How many bytes are behind.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn int16(&mut self) -> Walked<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn int32(&mut self) -> Walked<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// A string whose length has 16 bits, or null.
    pub(super) fn short_string(&mut self) -> Walked<Option<&'a str>> {
        let length = i32::from(self.int16()?);
        let Some(length) = self.not_negative(length)? else { return Ok(None) };
        self.text(length).map(Some)
    }

    /// The whole body. What follows its last field is passed over, as brokers do: librdkafka 2.16 sends a few zeros there.
    pub(super) fn body(&mut self, shape: &Shape, version: i16) -> Walked<()> {
        let form = Form { version, flexible: version >= shape.flexible_from };
        self.structure(&shape.body, form)
    }

    /// Tagged fields after a structure; those that `known` does not name are passed over.
    pub(super) fn tagged(&mut self, known: &[(u32, Field)], version: i16) -> Walked<()> {
        self.field = "tagged fields";
        let count = self.varint()?;
        // a number and a length
        let count = self.count(count, 2)?;
        let Some(left) = self.tagged_left.checked_sub(count) else { return self.fault(Flaw::TooManyTagged) };
        self.tagged_left = left;
        for _ in 0..count {
            let (tag, length) = (self.varint()?, self.varint()?);
            let Some((_, field)) = known.iter().find(|(number, _)| *number == tag) else {
                self.take(length as usize)?;
                continue;
            };
            if field.kind(version).is_none() {
                return self.fault(Flaw::TagOfOtherVersion);
            }
            let after = self.at.checked_add(length as usize).filter(|after| *after <= self.end);
            let Some(after) = after else { return self.fault(Flaw::EndsEarly) };
            let around = std::mem::replace(&mut self.end, after);
            self.value(field, Form { version, flexible: true })?;
            if self.at < after {
                return self.fault(Flaw::TagLength);
            }
            self.end = around;
            self.field = "tagged fields";
        }
        Ok(())
    }

    fn structure(&mut self, structure: &Structure, form: Form) -> Walked<()> {
        for field in structure.fields {
            self.value(field, form)?;
        }
        if form.flexible { self.tagged(structure.tagged, form.version) } else { Ok(()) }
    }

    fn value(&mut self, field: &Field, form: Form) -> Walked<()> {
        let Some(kind) = field.kind(form.version) else { return Ok(()) };
        self.field = field.name;
        self.kind(kind, field.may_be_null(form.version), form)
    }

    /// Its depth is that of the table: three structures in each other.
    fn kind(&mut self, kind: Kind, may_be_null: bool, form: Form) -> Walked<()> {
        let length = match kind {
            Kind::Fixed(bytes) => return self.take(bytes).map(drop),
            Kind::Structure(structure) => return self.structure(structure, form),
            Kind::String | Kind::Bytes | Kind::Array(_) if form.flexible => self.varint()?.checked_sub(1),
            Kind::String => {
                let length = i32::from(self.int16()?);
                self.not_negative(length)?
            }
            Kind::Bytes | Kind::Array(_) => {
                let length = self.int32()?;
                self.not_negative(length)?
            }
        };
        match (length, kind) {
            (None, _) if may_be_null => Ok(()),
            (None, _) => self.fault(Flaw::Null),
            (Some(length), Kind::Array(element)) => self.elements(length, *element, form),
            (Some(length), Kind::String) => self.text(length).map(drop),
            (Some(length), _) => self.take(length as usize).map(drop),
        }
    }

    fn elements(&mut self, count: u32, element: Kind, form: Form) -> Walked<()> {
        let count = self.count(count, element.bytes_min(form.version, form.flexible))?;
        let Some(left) = self.elements_left.checked_sub(count) else { return self.fault(Flaw::TooManyElements) };
        self.elements_left = left;
        let array = self.field;
        for _ in 0..count {
            self.field = array;
            self.kind(element, false, form)?;
        }
        Ok(())
    }

    /// A count that the bytes left can hold, at `bytes_min` each.
    fn count(&self, count: u32, bytes_min: usize) -> Walked<usize> {
        let count = count as usize;
        if count > (self.end - self.at) / bytes_min { self.fault(Flaw::Count) } else { Ok(count) }
    }

    /// At most 32 bits in at most five bytes. Zeros at its end are allowed: some writers pad.
    fn varint(&mut self) -> Walked<u32> {
        let mut value = 0;
        for place in 0..VARINT_BYTES_MAX {
            let [byte] = self.array()?;
            // the fifth byte has room for four bits, and nothing follows it
            if place + 1 == VARINT_BYTES_MAX && byte > 0x0f {
                return self.fault(Flaw::Varint);
            }
            value |= u32::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    /// A length, or `None` for -1.
    fn not_negative(&self, length: i32) -> Walked<Option<u32>> {
        match length {
            -1 => Ok(None),
            length => u32::try_from(length).map(Some).or_else(|_| self.fault(Flaw::Negative)),
        }
    }

    fn text(&mut self, length: u32) -> Walked<&'a str> {
        if length as usize > STRING_BYTES_MAX {
            return self.fault(Flaw::LongString);
        }
        let bytes = self.take(length as usize)?;
        std::str::from_utf8(bytes).or_else(|_| self.fault(Flaw::NotUtf8))
    }

    fn array<const N: usize>(&mut self) -> Walked<[u8; N]> {
        let bytes = self.take(N)?;
        <[u8; N]>::try_from(bytes).or_else(|_| self.fault(Flaw::EndsEarly))
    }

    fn take(&mut self, bytes: usize) -> Walked<&'a [u8]> {
        let left = self.frame.get(self.at..self.end).unwrap_or_default();
        let Some(taken) = left.get(..bytes) else { return self.fault(Flaw::EndsEarly) };
        self.at += bytes;
        Ok(taken)
    }

    fn fault<T>(&self, what: Flaw) -> Walked<T> {
        Err(Fault { what, field: self.field, at: self.at })
    }
}

/// How a message is written.
#[derive(Debug, Clone, Copy)]
struct Form {
    version: i16,
    flexible: bool,
}
