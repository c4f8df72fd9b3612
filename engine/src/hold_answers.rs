//! From a refused packet to the frames that tell of it, each with the TAP that it is written to. Pure but for the time
//! that a page shows.

use std::time::{SystemTime, UNIX_EPOCH};

use clearway_inspector::answers::{self, Ending, Refusal, Standing, MSS_DEFAULT};
use clearway_inspector::dns;
use clearway_inspector::flow::Transport;
use clearway_inspector::frame::Packet;
use clearway_inspector::observation::Protocol;
use clearway_inspector::reader::Parsed;

use crate::abi::{direction, inspector_count};
use crate::hold_rules::{Answering, Told};

/// Frames to both ends, and what they are counted as.
#[derive(Debug)]
pub struct Answer {
    /// What is written.
    pub ending: Ending,
    /// enum inspector_count
    pub counted: u32,
    /// As events say it.
    pub word: &'static str,
}

/// In which protocol a client is answered; None: not at all. From outside anybody's address may stand as the source,
/// and whoever forges it is not to have the gateway write more to its owner than was sent to the gateway: a reset at
/// most.
pub fn spoken(direction: usize, transport: Transport, protocol: Protocol) -> Option<Protocol> {
    if direction == direction::OUTBOUND as usize {
        return Some(protocol);
    }
    (transport == Transport::Tcp).then_some(Protocol::Tls)
}

/// What a refused client is told. `so_far`: where both ends stand, and how the client's stream begins (of DNS over TCP,
/// what is not answered yet). None: nothing can be built.
pub fn answer(
    frame: &[u8],
    packet: &Packet<'_>,
    protocol: Protocol,
    name: &str,
    so_far: (Standing, &[u8]),
    told: &Told,
    answering: &Answering,
) -> Option<Answer> {
    let refusal = Refusal {
        rule: &told.rule,
        reason: &told.reason,
        source: &told.source,
        until: &told.until,
        name,
        contact: answering.contact.as_deref(),
        appeal_url: answering.appeal_url.as_deref(),
    };
    let (standing, opening) = so_far;
    let to_client = |frame: Vec<u8>| Ending { to_client: vec![frame], to_server: Vec::new() };
    match (protocol, packet.transport) {
        (Protocol::Dns, Transport::Udp) => {
            let reply = answers::dns_reply(frame, packet, &refusal, answering.dns)?;
            made(to_client(reply), inspector_count::ANSWERED_DNS, "dns")
        }
        (Protocol::Dns, Transport::Tcp) => {
            let reply = query_in(opening, name).and_then(|query| {
                answers::dns_tcp_reply(frame, packet, standing, query, &refusal, answering.dns, MSS_DEFAULT)
            });
            match reply {
                Some(ending) => made(ending, inspector_count::ANSWERED_DNS, "dns"),
                None => reset(frame, packet, standing),
            }
        }
        (Protocol::Http, _) => {
            let page =
                answers::http_page(frame, packet, standing, opening, &refusal, &now_as_text(), MSS_DEFAULT);
            match page {
                Some(ending) => made(ending, inspector_count::ANSWERED_HTTP, "http"),
                None => reset(frame, packet, standing),
            }
        }
        (_, Transport::Tcp) => reset(frame, packet, standing),
        (_, Transport::Udp) => {
            let unreachable = answers::port_unreachable(frame, packet)?;
            made(to_client(unreachable), inspector_count::ANSWERED_UNREACHABLE, "unreachable")
        }
    }
}

fn made(ending: Ending, counted: u32, word: &'static str) -> Option<Answer> {
    Some(Answer { ending, counted, word })
}

fn reset(frame: &[u8], packet: &Packet<'_>, standing: Standing) -> Option<Answer> {
    made(answers::resets(frame, packet, standing)?, inspector_count::ANSWERED_RESET, "reset")
}

/// The query for that name among those that are whole.
fn query_in<'a>(stream: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = stream;
    loop {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let (message, next) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        if let Parsed::Done(query) = dns::query(message) {
            let asks =
                |question: &dns::Question| question.name.as_ref().is_ok_and(|asked| asked.as_str() == name);
            if query.questions.iter().any(asks) {
                return Some(message);
            }
        }
        rest = next;
    }
}

/// Wall time, RFC 3339, UTC, whole seconds.
fn now_as_text() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (now.as_secs() / 86_400, now.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Days since 1970 to a date: years begin in March here, so that the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    const DAYS_FROM_MARCH_0: u64 = 719_468; // 0000-03-01 to 1970-01-01
    let days = days + DAYS_FROM_MARCH_0;
    let (era, of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_number_becomes_its_date() {
        for (days, date) in
            [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (11_016, (2000, 2, 29)), (20_782, (2026, 11, 25))]
        {
            assert_eq!(civil(days), date);
        }
    }
}
