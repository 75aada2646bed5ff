//! Which connection reads which topics, and how many deliveries a message must cause.

/// The topics, and for each connection those that it reads.
pub struct Plan {
    topics: Vec<String>,
    reads: Vec<Vec<usize>>,
    readers: Vec<u64>,
}

impl Plan {
    /// All connections read the topic `bench`.
    pub fn one_topic(connections: usize) -> Self {
        Self::new(vec!["bench".to_owned()], vec![vec![0]; connections])
    }

    /// `topics` topics of the family `bench.{n}`, each read by one connection of its own.
    pub fn topics(topics: usize) -> Self {
        Self::new(family(topics), (0..topics).map(|topic| vec![topic]).collect())
    }

    /// Each connection reads `each` of the topics, picked at random but the same in every run. They are named one by
    /// one: with a shared pattern, connections could share their subscription lists.
    pub fn mixed(connections: usize, topics: usize, each: usize) -> Self {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut choose = || {
            let mut all: Vec<usize> = (0..topics).collect();
            for at in 0..each.min(topics) {
                // xorshift64
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                all.swap(at, at + (random % (topics - at) as u64) as usize);
            }
            all.truncate(each);
            all
        };
        Self::new(family(topics), (0..connections).map(|_| choose()).collect())
    }

    fn new(topics: Vec<String>, reads: Vec<Vec<usize>>) -> Self {
        let mut readers = vec![0; topics.len()];
        reads.iter().flatten().for_each(|topic| readers[*topic] += 1);
        Self { topics, reads, readers }
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.reads.len()
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// The topic's name, and how many connections read it.
    pub fn topic(&self, topic: usize) -> (&str, u64) {
        (&self.topics[topic], self.readers[topic])
    }

    /// The command with which a connection subscribes to its topics.
    pub fn subscribe(&self, connection: usize) -> String {
        let topics: Vec<&str> = self.reads[connection].iter().map(|topic| &*self.topics[*topic]).collect();
        serde_json::json!({"type": "subscribe", "id": 1, "topics": topics}).to_string()
    }

    /// How many messages a connection must have received, given the number published to each topic.
    pub fn due(&self, connection: usize, published: &[u64]) -> u64 {
        self.reads[connection].iter().map(|topic| published[*topic]).sum()
    }
}

fn family(topics: usize) -> Vec<String> {
    (0..topics).map(|topic| format!("bench.{topic}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Plan;

    #[test]
    fn a_mixed_plan_has_every_connection_on_topics_of_its_own_choice() {
        let plan = Plan::mixed(1_000, 200, 20);
        let sets: BTreeSet<Vec<usize>> = plan.reads.iter().cloned().collect();
        assert_eq!(sets.len(), 1_000, "no two read the same");
        for reads in &plan.reads {
            assert_eq!(reads.iter().collect::<BTreeSet<_>>().len(), 20);
        }
        assert_eq!(plan.readers.iter().sum::<u64>(), 20_000);
        assert_eq!(plan.due(0, &[2; 200]), 40);
    }
}
