//! Whether the hold loop lets packets come before it is woken: a wake-up costs more than what is done in it. Only where
//! many come at a time; who waits for nobody has its answer at once. Pure: the time is an argument.

use std::time::Duration;

/// So long they are let come.
pub const COMPANY: Duration = Duration::from_micros(400);
/// With more wake-ups than this in a millisecond it is tried.
const WAKES_MANY: u32 = 6;
const WAKES_NS: u64 = 1_000_000;
/// So many wake-ups are a trial, with COMPANY before each but the first.
const TRIAL_WAKES: u32 = 4;
/// Packets a wake-up for which it is worth while; of one client after the other come one or two, a hello's.
const TRIAL_PACKETS_MIN: u32 = 4;
/// After a trial that said no: a few packets in a thousand wait for company that does not come.
const TRIAL_PAUSE_NS: u64 = 100_000_000;

/// See the file's head.
#[derive(Debug, Default)]
pub struct Company {
    /// Wake-ups since then.
    since_ns: u64,
    wakes: u32,
    /// Wake-ups of the trial that are to come, and packets in those that were. 0: no trial.
    trial: u32,
    packets: u32,
    not_before_ns: u64,
}

impl Company {
    /// After a look that found so many packets: is the next one to wait?
    pub fn after(&mut self, packets: u32, now_ns: u64) -> bool {
        if packets == 0 {
            self.trial = 0;
            return false;
        }
        if self.trial == 0 {
            if now_ns.saturating_sub(self.since_ns) > WAKES_NS {
                (self.since_ns, self.wakes) = (now_ns, 0);
            }
            self.wakes += 1;
            return self.wakes > WAKES_MANY && now_ns >= self.not_before_ns && self.begin();
        }
        self.trial -= 1;
        self.packets += packets;
        if self.trial > 0 {
            return true;
        }
        if self.packets >= TRIAL_WAKES * TRIAL_PACKETS_MIN {
            return self.begin();
        }
        self.not_before_ns = now_ns + TRIAL_PAUSE_NS;
        false
    }

    fn begin(&mut self) -> bool {
        (self.trial, self.packets) = (TRIAL_WAKES, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks that waited, of so many a second with so many packets each while none waits, and `together` when it does.
    fn waited(looks: u64, a_second: u64, alone: u32, together: u32) -> u64 {
        let mut company = Company::default();
        let mut packets = alone;
        (0..looks).fold(0, |waited, look| {
            let waits = company.after(packets, 1_000_000_000 + look * 1_000_000_000 / a_second);
            packets = if waits { together } else { alone };
            waited + u64::from(waits)
        })
    }

    #[test]
    fn a_client_at_a_time_waits_for_nobody() {
        assert_eq!(waited(10_000, 2_000, 1, 1), 0);
        let of_segments = waited(100_000, 20_000, 2, 2);
        assert!((1..=250).contains(&of_segments), "{of_segments} of 100 000");
        let of_many = waited(100_000, 20_000, 1, 1);
        assert!((1..=250).contains(&of_many), "{of_many} of 100 000");
    }

    #[test]
    fn many_at_a_time_come_together() {
        let of_many = waited(10_000, 10_000, 1, 4);
        assert!(of_many > 9_900, "{of_many} of 10 000");
    }

    #[test]
    fn it_ends_with_the_rush() {
        let mut company = Company::default();
        (0..20).for_each(|look| _ = company.after(5, 1_000_000_000 + look * 50_000));
        assert!(company.after(5, 1_002_000_000));
        assert!(!company.after(0, 1_003_000_000));
        assert!(!company.after(1, 1_010_000_000));
    }
}
