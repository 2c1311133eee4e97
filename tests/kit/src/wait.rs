//! Waiting for a condition with a limit: the only way in which tests let time pass.

use std::future::Future;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::{Error, Result};

/// Pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(15);

/// Looks until `look` finds something, and gives it back; fails with a sentence made of `what`
/// when `limit` has passed. A look that hangs counts as one that finds nothing.
pub async fn wait_for<T, F, Fut>(limit: Duration, what: &str, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let found = timeout(limit, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(PAUSE).await;
        }
    })
    .await;
    found.map_err(|_| Error::TimedOut {
        limit,
        what: what.to_owned(),
    })
}

/// Waits until `condition` holds; fails with a sentence made of `what` when `limit` has passed.
pub async fn wait_until<F, Fut>(limit: Duration, what: &str, mut condition: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    wait_for(limit, what, || {
        let held = condition();
        async move { held.await.then_some(()) }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_becomes_true_ends_the_wait() {
        let mut looks = 0;
        let found = wait_for(Duration::from_secs(10), "three looks", || {
            looks += 1;
            let seen = looks;
            async move { (seen == 3).then_some(seen) }
        });
        assert_eq!(found.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_wait_in_vain_names_what_was_waited_for() {
        let failed = wait_until(Duration::from_millis(60), "pigs to fly", || async { false }).await;
        assert_eq!(
            failed.unwrap_err().to_string(),
            "waited 60ms in vain for this: pigs to fly"
        );
    }

    #[tokio::test]
    async fn a_look_that_hangs_does_not_hang_the_wait() {
        let failed = wait_until(Duration::from_millis(60), "an answer", std::future::pending).await;
        assert!(matches!(failed, Err(Error::TimedOut { .. })));
    }
}
