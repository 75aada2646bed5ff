//! Upper bounds for the memory that things take, as `relay check` calculates them: from their sizes, and from how
//! containers and the allocator round up. Each structure states its own bound next to its definition.

/// An allocation of so many bytes: the allocator's size classes are at most a quarter apart, the smallest is eight
/// bytes.
pub const fn allocated(bytes: usize) -> usize {
    bytes + bytes / 4 + 8
}

/// A shared text of so many bytes, with its two reference counts.
pub const fn text(bytes: usize) -> usize {
    allocated(16 + bytes)
}

/// An entry of a hash table, which doubles when seven eighths are taken, and has one more byte for each entry.
pub const fn in_table(entry: usize) -> usize {
    ((entry + 1) * 16).div_ceil(7)
}

/// An entry of a list or queue, which doubles when it is full.
pub const fn in_list(entry: usize) -> usize {
    entry * 2
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use super::{in_list, in_table};

    #[test]
    fn containers_have_no_more_places_than_are_reckoned() {
        let (mut table, mut list, mut queue) = (HashMap::new(), Vec::new(), VecDeque::new());
        for n in 1..5_000_usize {
            table.insert(n, ());
            list.push(n);
            queue.push_back(n);
            // A table uses at most seven eighths of its slots. The minimum size of a container is not bounded.
            assert!(n < 8 || table.capacity().div_ceil(7) * 8 * 9 <= n * in_table(8), "{n}: {}", table.capacity());
            assert!(n < 4 || list.capacity() * 8 <= n * in_list(8) && queue.capacity() * 8 <= n * in_list(8));
        }
    }
}
