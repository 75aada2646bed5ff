use super::Task;

fn size<F: Future>(_: impl FnOnce(Box<Task>) -> F) -> usize {
    size_of::<F>()
}

/// There may be tens of thousands of idle connections, so the cost of each matters to users.
#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Task>() <= 384, "{}", size_of::<Task>());
    assert!(size(Task::run) <= 352, "{}", size(Task::run));
}
