//! Sealed blobs: their bytes, their ranges, and what must not open. The golden bytes were made with another implementation
//! (Python's `cryptography`), so that the format is what the header of `seal.rs` says.

use super::*;
use proptest::prelude::*;

const FRAME: u64 = FRAME_BYTES as u64;

fn data_key() -> DataKey {
    DataKey::from_bytes(std::array::from_fn(|i| u8::try_from(i).unwrap()))
}

fn salt(first: u8) -> BlobSalt {
    BlobSalt(std::array::from_fn(|i| first + u8::try_from(i).unwrap()))
}

fn plain(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| u8::try_from((i * 7 + 3) % 251).unwrap()).collect()
}

/// Seals `plain` in pieces of the lengths that `pieces` goes around.
fn seal_in(plain: &[u8], salt: &BlobSalt, pieces: &[usize]) -> Vec<u8> {
    let mut sealer = Sealer::new(&data_key(), salt);
    let mut whole = Vec::new();
    for piece in cut(plain, pieces) {
        whole.extend(sealer.push(piece).unwrap());
    }
    whole.extend(sealer.finish().unwrap());
    whole
}

fn seal(plain: &[u8]) -> Vec<u8> {
    seal_in(plain, &salt(0xa0), &[plain.len()])
}

fn cut<'a>(mut bytes: &'a [u8], pieces: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    pieces.iter().cycle().map_while(move |length| {
        let (piece, rest) = bytes.split_at((*length).min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Opens all of `sealed` as the range of a blob that should have `plain_bytes`.
fn open_in(
    sealed: &[u8],
    salt: &BlobSalt,
    range: Range<u64>,
    plain_bytes: u64,
    pieces: &[usize],
) -> Result<Vec<u8>, SealError> {
    let mut opener = Opener::new(&data_key(), salt, &range, plain_bytes)?;
    let mut plain = Vec::new();
    for piece in cut(sealed, pieces) {
        plain.extend(opener.push(piece)?);
    }
    opener.finish()?;
    Ok(plain)
}

fn open(sealed: &[u8], plain_bytes: usize) -> Result<Vec<u8>, SealError> {
    open_in(sealed, &salt(0xa0), 0..plain_bytes as u64, plain_bytes as u64, &[sealed.len().max(1)])
}

fn of(sealed: &[u8], range: &Range<u64>) -> Vec<u8> {
    sealed[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
}

#[test]
fn golden_bytes() {
    assert_eq!(hex::encode(seal(b"cistern")), "9e1dac519fb01699326d46fc1bd381de6eac1d2cf197ba");
    let long = seal(&plain(2 * FRAME_BYTES + 5));
    assert_eq!(long.len() as u64, sealed_bytes(2 * FRAME + 5));
    let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &long);
    assert_eq!(hex::encode(sha256), "2d92cda4950f4aaa18a6ad1a8959c42604443aef9faec35bbc76147e9c532a98");
}

#[test]
fn lengths_and_ranges_are_those_of_whole_frames() {
    const SEALED: u64 = SEALED_FRAME_BYTES as u64;
    for (plain, sealed) in [(0, 0), (1, 17), (FRAME, SEALED), (FRAME + 1, SEALED + 17), (3 * FRAME, 3 * SEALED)] {
        assert_eq!(sealed_bytes(plain), sealed, "{plain}");
    }
    let plain = 2 * FRAME + 5;
    for (range, sealed) in [
        (0..plain, 0..2 * SEALED + 21),
        (0..1, 0..SEALED),
        (FRAME - 1..FRAME, 0..SEALED),
        (FRAME - 1..FRAME + 1, 0..2 * SEALED),
        (FRAME..2 * FRAME, SEALED..2 * SEALED),
        (2 * FRAME + 4..plain, 2 * SEALED..2 * SEALED + 21),
        (2 * FRAME + 4..u64::MAX, 2 * SEALED..2 * SEALED + 21),
        (7..7, 0..0),
        (plain..plain, 0..0),
        (plain + FRAME..u64::MAX, 0..0),
    ] {
        assert_eq!(sealed_range(&range, plain), sealed, "{range:?}");
    }
    assert_eq!(sealed_bytes(u64::MAX), u64::MAX);
    assert_eq!(sealed_range(&(0..u64::MAX), u64::MAX), 0..u64::MAX);
}

#[test]
fn every_flipped_bit_is_found() {
    let small = seal(b"cistern");
    assert_eq!(open(&small, 7).unwrap(), b"cistern");
    for bit in 0..small.len() * 8 {
        let mut flipped = small.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&flipped, 7), Err(SealError::Damaged { frame: 0 }), "bit {bit}");
    }
    let long = seal(&plain(2 * FRAME_BYTES + 5));
    let tags = (FRAME_BYTES..SEALED_FRAME_BYTES).chain(2 * SEALED_FRAME_BYTES..long.len());
    for byte in (0..long.len()).step_by(4099).chain(tags) {
        let mut flipped = long.clone();
        flipped[byte] ^= 0x10;
        let frame = (byte / SEALED_FRAME_BYTES) as u64;
        assert_eq!(open(&flipped, 2 * FRAME_BYTES + 5), Err(SealError::Damaged { frame }), "byte {byte}");
    }
}

#[test]
fn a_blob_that_is_cut_or_said_to_be_shorter_or_longer_does_not_open() {
    let bytes = 2 * FRAME_BYTES + 5;
    let sealed = seal(&plain(bytes));
    for end in [0, 1, FRAME_BYTES, SEALED_FRAME_BYTES, 2 * SEALED_FRAME_BYTES, sealed.len() - 1] {
        let frame = (end / SEALED_FRAME_BYTES) as u64;
        let missing_bytes = (sealed.len() - end) as u64;
        assert_eq!(open(&sealed[..end], bytes), Err(SealError::Truncated { frame, missing_bytes }), "{end}");
    }
    // the row says so too: what is left is whole frames, but the last of them was not the last
    for frames in [1, 2] {
        let cut = open(&sealed[..frames * SEALED_FRAME_BYTES], frames * FRAME_BYTES);
        assert_eq!(cut, Err(SealError::Damaged { frame: frames as u64 - 1 }));
    }
    for end in 1..22 {
        let said = 2 * FRAME_BYTES + end;
        assert_eq!(open(&sealed, said).is_ok(), said == bytes, "{end}");
    }
    let whole = seal(&plain(FRAME_BYTES));
    assert_eq!(open(&whole, FRAME_BYTES + 1), Err(SealError::Damaged { frame: 0 }), "its last frame was the last");
}

#[test]
fn frames_and_blobs_in_the_place_of_others_do_not_open() {
    let bytes = 3 * FRAME_BYTES;
    let (one, other) = (seal(&plain(bytes)), seal_in(&plain(bytes), &salt(0xb0), &[bytes]));
    assert_eq!(open(&other, bytes), Err(SealError::Damaged { frame: 0 }), "a blob of the same object");
    let frame = |sealed: &[u8], number: usize| sealed[number * SEALED_FRAME_BYTES..][..SEALED_FRAME_BYTES].to_vec();
    for (frames, damaged) in [
        ([frame(&one, 1), frame(&one, 0), frame(&one, 2)], 0),
        ([frame(&one, 0), frame(&one, 0), frame(&one, 2)], 1),
        ([frame(&one, 0), frame(&one, 2), frame(&one, 1)], 1),
        ([frame(&one, 0), frame(&other, 1), frame(&one, 2)], 1),
        ([frame(&one, 0), frame(&one, 1), frame(&one, 1)], 2),
    ] {
        assert_eq!(open(&frames.concat(), bytes), Err(SealError::Damaged { frame: damaged }));
    }
    let mut opener = Opener::new(&DataKey::random(), &salt(0xa0), &(0..3 * FRAME), 3 * FRAME).unwrap();
    assert_eq!(opener.push(&one), Err(SealError::Damaged { frame: 0 }), "another key");
}

#[test]
fn equal_bodies_look_different_under_every_salt() {
    let (one, other) = (seal_in(&[7; 64], &salt(0), &[64]), seal_in(&[7; 64], &salt(1), &[64]));
    assert_ne!(one[..64], other[..64]);
    assert_ne!(BlobSalt::random(), BlobSalt::random());
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_goes_on_after_a_failure() {
    assert_eq!(Sealer::new(&data_key(), &salt(0)).finish(), Err(SealError::Empty));
    let mut sealer = Sealer::new(&data_key(), &salt(0));
    sealer.frame = PLAIN_BYTES_MAX / FRAME;
    assert_eq!(sealer.push(&[1]), Err(SealError::TooLong));
    assert_eq!(sealer.push(&[1]), Err(SealError::Failed));
    assert_eq!(sealer.finish(), Err(SealError::Failed));

    let new = |range: Range<u64>, plain| Opener::new(&data_key(), &salt(0xa0), &range, plain).map(drop);
    assert_eq!(new(0..8, 7), Err(SealError::OutOfRange { start: 0, end: 8, plain_bytes: 7 }));
    let backwards = Range { start: 5, end: 4 };
    assert_eq!(new(backwards, 7), Err(SealError::OutOfRange { start: 5, end: 4, plain_bytes: 7 }));
    assert_eq!(new(0..1, u64::MAX), Err(SealError::TooLong));
    assert_eq!(open(&[], 0), Ok(Vec::new()), "an empty range needs no bytes");

    let small = seal(b"cistern");
    let surplus = [small.as_slice(), b"x"].concat();
    assert_eq!(open(&surplus, 7), Err(SealError::Surplus { surplus_bytes: 1 }));
    let mut opener = Opener::new(&data_key(), &salt(0xa0), &(0..7), 7).unwrap();
    assert_eq!(opener.push(&[0; 23]), Err(SealError::Damaged { frame: 0 }));
    assert_eq!(opener.push(&small), Err(SealError::Failed));
    assert_eq!(opener.finish(), Err(SealError::Failed));
}

#[test]
fn a_bad_frame_passes_no_byte_on_but_good_ones_before_it_do() {
    let mut sealed = seal(&plain(2 * FRAME_BYTES));
    sealed[SEALED_FRAME_BYTES] ^= 1;
    let mut opener = Opener::new(&data_key(), &salt(0xa0), &(0..2 * FRAME), 2 * FRAME).unwrap();
    let early = SEALED_FRAME_BYTES + 1000;
    assert_eq!(opener.push(&sealed[..early]).unwrap(), plain(FRAME_BYTES));
    let last = sealed.len() - 1;
    assert!(opener.push(&sealed[early..last]).unwrap().is_empty(), "nothing before the tag is whole");
    assert_eq!(opener.push(&sealed[last..]), Err(SealError::Damaged { frame: 1 }));
}

#[test]
fn sealer_opener_and_errors_show_no_byte_of_body_or_key() {
    let body = b"a body that nobody shall see";
    let mut sealer = Sealer::new(&data_key(), &salt(0));
    sealer.push(body).unwrap();
    let mut opener = Opener::new(&data_key(), &salt(0xa0), &(0..7), 7).unwrap();
    opener.push(&seal(b"cistern")[..20]).unwrap();
    let shown = format!("{sealer:?} {opener:?} {:?}", SealError::Damaged { frame: 3 });
    assert_eq!(
        shown,
        "Sealer { frame: 0, .. } Opener { frame: 0, sealed: 20..23, wanted: 7, .. } Damaged { frame: 3 }"
    );
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1usize..100, 1usize..(200 << 10), Just(FRAME_BYTES), Just(1 << 20)], 1..6)
}

/// Lengths near the borders of frames, and any.
fn body_bytes() -> impl Strategy<Value = usize> {
    let border =
        (0usize..4, 0usize..5).prop_map(|(frames, more)| (frames * FRAME_BYTES + more).saturating_sub(2).max(1));
    prop_oneof![border, 1usize..(300 << 10)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_range_of_what_was_sealed_in_any_pieces_opens_in_any_pieces(
        bytes in body_bytes(),
        (a, b) in (0usize..=300 << 10, 0usize..=300 << 10),
        (sealing, opening) in (lengths(), lengths()),
    ) {
        let body = plain(bytes);
        let sealed = seal_in(&body, &salt(0xa0), &sealing);
        prop_assert_eq!(&sealed, &seal(&body), "the pieces do not matter");
        prop_assert_eq!(sealed.len() as u64, sealed_bytes(bytes as u64));
        let (start, end) = (a.min(b).min(bytes), a.max(b).min(bytes));
        let range = start as u64..end as u64;
        let needed = of(&sealed, &sealed_range(&range, bytes as u64));
        let opened = open_in(&needed, &salt(0xa0), range, bytes as u64, &opening);
        prop_assert_eq!(opened.as_deref(), Ok(&body[start..end]));
    }

    #[test]
    fn a_flipped_bit_anywhere_in_what_a_range_needs_is_found(
        bytes in body_bytes(),
        (a, b) in (0usize..300 << 10, 0usize..300 << 10),
        bit in any::<prop::sample::Index>(),
        opening in lengths(),
    ) {
        let sealed = seal(&plain(bytes));
        let (start, end) = (a.min(b) % bytes, a.max(b) % bytes + 1);
        prop_assume!(start < end);
        let range = start as u64..end as u64;
        let mut needed = of(&sealed, &sealed_range(&range, bytes as u64));
        let bit = bit.index(needed.len() * 8);
        needed[bit / 8] ^= 1 << (bit % 8);
        let opened = open_in(&needed, &salt(0xa0), range, bytes as u64, &opening);
        prop_assert!(matches!(opened, Err(SealError::Damaged { .. })), "{:?}", opened.map(|plain| plain.len()));
    }
}
