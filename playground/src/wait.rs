//! Waiting for conditions, with looks that may borrow what they look at.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::Result;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until there is something to see, and gives it back; fails with a sentence made of `what` when `limit` has passed.
pub async fn wait_for<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(PAUSE).await;
        }
    };
    let found = timeout(limit, looking).await;
    found.map_err(|_| {
        dm_testkit::Error::TimedOut {
            limit,
            what: what.to_owned(),
        }
        .into()
    })
}
