//! Masking (RFC 6455, section 5.3), eight bytes at a time.

/// Unmasks bytes in place. `key` must be rotated for the first of them: call [`rotated`] after each part.
pub(super) fn unmask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// The key rotated by this many bytes.
pub(super) fn rotated(mut key: [u8; 4], bytes: usize) -> [u8; 4] {
    key.rotate_left(bytes % 4);
    key
}

#[cfg(test)]
mod tests {
    use super::{rotated, unmask};

    #[test]
    fn it_does_what_the_standard_says_byte_by_byte_however_it_is_split() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let plain: Vec<u8> = (0..=255).collect();
        let masked: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
        for split in 0..plain.len() {
            let mut bytes = masked.clone();
            let (head, tail) = bytes.split_at_mut(split);
            unmask(head, key);
            unmask(tail, rotated(key, split));
            assert_eq!(bytes, plain, "split at {split}");
        }
    }
}
