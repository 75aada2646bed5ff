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

/// An entry of a hash table whose entries come and go, with the byte that the table adds to each.
///
/// The table doubles when seven eighths of its places are taken. Places of removed entries may count as taken; the table
/// is then tidied in place only if at most half of those seven eighths are in use.
pub const fn in_table(entry: usize) -> usize {
    ((entry + 1) * 32).div_ceil(7)
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
        let (mut list, mut queue) = (Vec::new(), VecDeque::new());
        for n in 1..5_000_usize {
            list.push(n);
            queue.push_back(n);
            // The minimum size of a container is not bounded.
            assert!(n < 4 || list.capacity() * 8 <= n * in_list(8) && queue.capacity() * 8 <= n * in_list(8));
        }
    }

    #[test]
    fn tables_have_no_more_places_than_are_reckoned_even_if_entries_come_and_go() {
        let places = |entries: usize| {
            let mut table = HashMap::new();
            let keep = |n: usize| {
                table.insert(n, ());
                n.checked_sub(entries).map(|oldest| table.remove(&oldest));
                // What removed entries still take is missing from it, except directly after the table has grown.
                table.capacity()
            };
            (0..50 * entries).map(keep).max().unwrap_or(0).div_ceil(7) * 8
        };
        let most = [8, 230, 450, 900, 1_800].map(|entries| (places(entries) * 9, entries * in_table(8)));
        assert!(most.iter().all(|(taken, reckoned)| taken <= reckoned), "{most:?}");
        assert!(most.iter().any(|(taken, reckoned)| taken * 5 > reckoned * 3), "they no longer grow so far: {most:?}");
    }
}
