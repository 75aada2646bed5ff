//! Keeps what slow readers hold within `limits.outbound`.
//!
//! It checks ten times a second, which costs one load. When the budget is exceeded it drops answers, then the
//! subscribers furthest behind. New subscribers are refused where they come in, not here.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::background;
use crate::hub::outbound::Step;
use crate::live::Live;

/// Time between two checks.
const LOOK: Duration = Duration::from_millis(100);

/// Runs for as long as the process.
pub(super) async fn run(live: Arc<Live>) {
    let mut tick = background::every(LOOK);
    let mut before = Step::Serve;
    loop {
        tick.tick().await;
        let budget = live.snapshot().config.limits.outbound;
        let step = live.hub.outbound.step(budget);
        let dropped = if step == Step::Drop { live.hub.shed(budget) } else { 0 };
        let held = live.hub.outbound.held();
        match step {
            Step::Drop if before != step || dropped > 0 => {
                warn!(
                    held,
                    budget,
                    dropped,
                    "over `limits.outbound`: dropped what slow readers hold, answers first, then the subscribers furthest \
                     behind"
                );
            }
            Step::Refuse if before != step => {
                warn!(held, budget, "near `limits.outbound`: new subscribers are refused");
            }
            Step::Serve if before != step => info!(held, budget, "within `limits.outbound` again"),
            _ => {}
        }
        before = step;
    }
}
