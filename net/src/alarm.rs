//! Timers of one connection that share an alarm of the runtime's.
//!
//! An HTTP/1.1 connection times every head it waits for, and hardly ever is one late. Setting an alarm for each and clearing it again would
//! take the runtime's lock twice a request. Here the alarm that is set stays set; when it rings before the timer that counts now is due,
//! it is set anew.

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time;

/// Makes timers that wake the task of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionTimer(Alarm);

/// Set for the earliest deadline that was ever waited for, and later ones as they turn out to count.
type Alarm = Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>;

/// Ready at its deadline.
struct Due {
    deadline: time::Instant,
    alarm: Alarm,
}

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Due { deadline: deadline.into(), alarm: Arc::clone(&self.0) })
    }

    fn now(&self) -> Instant {
        time::Instant::now().into()
    }
}

impl Future for Due {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.alarm.lock();
        let alarm = alarm.get_or_insert_with(|| Box::pin(time::sleep_until(self.deadline)));
        if alarm.deadline() > self.deadline {
            alarm.as_mut().reset(self.deadline);
        }
        loop {
            ready!(alarm.as_mut().poll(cx));
            if alarm.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(self.deadline);
        }
    }
}

impl Sleep for Due {}

#[cfg(test)]
mod tests {
    use super::*;

    async fn millis_until(timer: &ConnectionTimer, millis: u64) -> u128 {
        let begun = time::Instant::now();
        timer.sleep(Duration::from_millis(millis)).await;
        begun.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn each_timer_ends_at_its_own_deadline_whatever_the_alarm_was_set_for() {
        let timer = ConnectionTimer::default();
        assert_eq!(millis_until(&timer, 100).await, 100);
        assert_eq!(millis_until(&timer, 300).await, 300);
        for (given_up_after, waited) in [(10, 100), (10, 1000), (50, 20), (0, 5)] {
            let waits = timer.sleep(Duration::from_millis(100));
            assert!(time::timeout(Duration::from_millis(given_up_after), waits).await.is_err());
            assert_eq!(millis_until(&timer, waited).await, u128::from(waited));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_alarm_of_a_timer_that_was_dropped_wakes_nobody_too_early() {
        let timer = ConnectionTimer::default();
        let mut first = timer.sleep(Duration::from_millis(50));
        assert!(futures::poll!(&mut first).is_pending());
        drop(first);
        let mut second = timer.sleep(Duration::from_millis(80));
        assert!(futures::poll!(&mut second).is_pending());
        time::advance(Duration::from_millis(60)).await;
        assert!(futures::poll!(&mut second).is_pending());
        time::advance(Duration::from_millis(20)).await;
        assert!(futures::poll!(&mut second).is_ready());
    }
}
