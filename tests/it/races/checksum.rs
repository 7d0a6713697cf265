//! CRC-32C as `x-amz-checksum-crc32c` has it, bit by bit: slow, and nobody else's code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The checksum of a body, in base64.
pub(crate) fn crc32c(body: &[u8]) -> String {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut crc = u32::MAX;
    for byte in body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
        }
    }
    BASE64.encode((!crc).to_be_bytes())
}

#[test]
fn the_check_value_of_crc_32c_is_the_published_one() {
    assert_eq!(crc32c(b"123456789"), BASE64.encode(0xe306_9283_u32.to_be_bytes()));
}
