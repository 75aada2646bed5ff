//! Hex digits, written and read.

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The 32 bytes of a SHA-256 from its hex digits, in either case.
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{from_hex, hex};

    #[test]
    fn a_digest_is_64_hex_digits() {
        assert_eq!(from_hex(&"0fF0".repeat(16)), Some([0x0f, 0xf0].repeat(16).try_into().expect("32 bytes")));
        assert_eq!(hex(&[0x0f, 0xf0]), "0ff0");
        for bad in ["", "0", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(64)] {
            assert_eq!(from_hex(bad), None);
        }
    }
}
