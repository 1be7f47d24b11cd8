//! The news for the service manager that must arrive.
//!
//! A manager that is busy can have a full queue, and one that is being restarted has no socket. If
//! `READY=1` got lost, the manager would wait for it and then end the server. So the news is sent
//! again until it is delivered. Newer news replaces it.

use std::io;
use std::time::{Duration, Instant};

use super::notify::{ServiceManager, Watchdog};

/// The state that the manager must know, and when to tell it next.
pub(super) struct News {
    manager: ServiceManager,
    undelivered: Option<Undelivered>,
}

struct Undelivered {
    news: &'static str,
    next: Instant,
    pause: Duration,
}

impl News {
    /// The first pause between two tries. Each pause is twice as long as the one before.
    const FIRST_PAUSE: Duration = Duration::from_millis(20);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);

    pub(super) fn new(manager: ServiceManager) -> Self {
        Self {
            manager,
            undelivered: None,
        }
    }

    /// Tells the manager this news now, or later if that fails.
    pub(super) fn tell(&mut self, news: &'static str, now: Instant) {
        self.undelivered = Some(Undelivered {
            news,
            next: now,
            pause: Self::FIRST_PAUSE,
        });
        self.tend(now);
    }

    /// Tells the manager this news now or never.
    pub(super) fn tell_now(&self, news: &str) {
        let _ = self.try_to_tell(news);
    }

    /// Tries again if that is due.
    pub(super) fn tend(&mut self, now: Instant) {
        let Some(undelivered) = &self.undelivered else {
            return;
        };
        if now < undelivered.next {
            return;
        }

        let (news, pause) = (undelivered.news, undelivered.pause);
        self.undelivered = self.try_to_tell(news).is_err().then(|| Undelivered {
            news,
            next: now + pause,
            pause: (2 * pause).min(Self::LONGEST_PAUSE),
        });
    }

    /// Returns when to try again, if there is something to tell.
    pub(super) fn next(&self) -> Option<Instant> {
        self.undelivered
            .as_ref()
            .map(|undelivered| undelivered.next)
    }

    /// Returns the timer for signs of life, if the manager wants them.
    pub(super) fn watchdog(&self, now: Instant) -> Option<Watchdog> {
        self.manager.watchdog(now)
    }

    fn try_to_tell(&self, news: &str) -> io::Result<()> {
        let told = self.manager.send(news);
        if let Err(error) = &told {
            self.manager.warn_once(error);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_between_tries_grow_to_a_second_and_no_further() {
        let nobody = |name: &str| (name == "NOTIFY_SOCKET").then(|| "/none/notify".into());
        let mut news = News::new(ServiceManager::find(nobody));
        let mut now = Instant::now();
        assert_eq!(news.next(), None);

        news.tell("READY=1", now);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let next = news.next().expect("it is not delivered");
            pauses.push((next - now).as_millis());
            news.tend(now);
            assert_eq!(news.next(), Some(next), "it is not due yet");
            now = next;
            news.tend(now);
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000]);
    }
}
