//! Two [`Connection`](facelink::connection::Connection)s over an emulated network in virtual time, held to a table of
//! faults and outcomes.
//!
//! The table is `faults.json` next to this file, so that clients in other languages can be held to the same one. Each row
//! is one connection of a client to an endpoint and what goes wrong with it; both sides send 60 frames a second. Times are
//! milliseconds.
//!
//! | Field of a row | Default | |
//! |---|---|---|
//! | `name` | | subject and condition |
//! | `run_ms` | 20000 | length of the run |
//! | `link` | 10 ms in each direction | `delay_ms`, `jitter_ms`, `loss` (0 to 1), `burst` (packets lost in a row); for every packet of both transports. TCP repeats what is lost and keeps its order |
//! | `webrtc` | `true` | whether the client tries it |
//! | `numbered` | `true` | whether frames carry numbers by which a receiver detects duplicates |
//! | `token` | `"right"` | `"wrong"`: the upgrade is refused; `"wrong_in_hello"`: closed with 4401 |
//! | `answer_delay_ms` | 0 | by which the endpoint's answer to an offer is late |
//! | `faults` | none | `at_ms`, `kind`, `for_ms` (without: to the end, or an instant), `by_ms` |
//! | `outcome` | | what has to be at the end |
//!
//! | Kind of fault | |
//! |---|---|
//! | `udp_dropped` | no datagram passes |
//! | `channel_half_dead_up`, `channel_half_dead_down` | no datagram from the client, or to it |
//! | `tcp_dropped` | no TCP segment passes; streams repeat |
//! | `both_lost` | neither passes |
//! | `websocket_reset` | the WebSocket ends on both sides without a close frame |
//! | `websocket_silent` | the WebSocket of that moment swallows everything from then on; others work |
//! | `endpoint_restarted` | killed: sockets reset, UDP silent, everything forgotten, dials refused for `for_ms` |
//! | `endpoint_stops` | the same with a goodbye |
//! | `client_killed` | its sockets end without a close frame, its UDP is silent |
//! | `network_changed` | nothing passes for `for_ms`; after that the client has another address, which it sees 50 ms later. Old sockets are dead |
//! | `channel_closed` | the data channel closes on both sides |
//! | `peer_failed` | the path of the peer connection dies, and the client's state becomes `failed` |
//! | `sleep` | the client's process does not run for `for_ms`; what arrives waits |
//! | `clock_step` | the client's time of day jumps by `by_ms`; monotonic clocks do not |
//! | `goodbye` | the client closes |
//!
//! | Outcome | Default | |
//! |---|---|---|
//! | `up`, `down` | not judged | frames of the client, and of the endpoint: `lost_max` (of those made after the first one shown), `gap_ms_max` (longest time between two shown), `return_ms_max` (longest time from the end of a fault with `for_ms` until a frame made after it is shown) |
//! | `first_frame_ms_max` | 200 | from the start to the first frame shown |
//! | `transport` | `"webrtc"` | of the client's frames at the end: `webrtc`, `websocket`, `none` |
//! | `connection` | `"same"` | id of the connection: `same`, `new`; or `refused`, `closed` |
//! | `faces` | 1 | subjects that the endpoint has seen |
//! | `moves_max` | not judged | how often the client's frames moved to another transport |
//! | `face_gone_ms_max` | not judged | from the last fault until the face has left |
//!
//! In every row: no frame is shown twice, and none after a newer one.
//!
//! `FACELINK_ROW=name cargo test -p facelink --test connection -- --nocapture` prints what happens in one row.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod rules;
mod stream;
mod table;
mod world;

use facelink::connection::Lane;
use table::{Outcome, Row, Stream, Table};
use world::{Result, Seen, World};

/// Runs of each row, which differ in what the network loses and in the jitter of delays.
const SEEDS: u64 = 10;

fn table() -> Table {
    serde_json::from_str(include_str!("faults.json")).expect("the table can be read")
}

/// What a row asked for and did not get.
struct Judge<'a> {
    row: &'a Row,
    failures: Vec<String>,
}

impl Judge<'_> {
    fn most(&mut self, what: &str, is: i64, most: Option<i64>) {
        if let Some(most) = most.filter(|most| is > *most) {
            self.failures.push(format!("{what}: {is} instead of at most {most}"));
        }
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, is: T, wanted: T) {
        if is != wanted {
            self.failures.push(format!("{what}: {is:?} instead of {wanted:?}"));
        }
    }

    fn frames(&mut self, what: &str, seen: &Seen, wanted: Stream) {
        self.equal(&format!("{what} shown wrongly"), seen.wrong, 0);
        let end = self.row.run_ms * 1000;
        // What is still in flight at the end is not lost.
        let lost = seen.lost(end - 1_000_000);
        self.most(&format!("{what} lost"), lost as i64, wanted.lost_max.map(|most| most as i64));
        self.most(&format!("{what} gap ms"), seen.gap_ms(end), wanted.gap_ms_max);
        if wanted.return_ms_max.is_some() {
            let ends = self.row.faults.iter().filter_map(|fault| Some(fault.at_ms + fault.for_ms?));
            let returns = ends.map(|at| seen.return_ms(at * 1000).unwrap_or(i64::MAX)).max();
            self.most(&format!("{what} return ms"), returns.unwrap_or(i64::MAX), wanted.return_ms_max);
        }
    }
}

fn judge(row: &Row, result: &Result) -> Vec<String> {
    let mut judge = Judge { row, failures: Vec::new() };
    let Outcome { up, down, first_frame_ms_max, transport, connection, faces, moves_max, face_gone_ms_max } =
        &row.outcome;
    judge.frames("up", &result.up, *up);
    judge.frames("down", &result.down, *down);
    if connection != "refused" {
        let first = result.up.shown.first().map_or(i64::MAX, |(_, at)| at / 1000);
        judge.most("first frame ms", first, Some(*first_frame_ms_max));
    }
    let carried = match result.transport {
        Some(Lane::DataChannel) => "webrtc",
        Some(Lane::WebSocket) => "websocket",
        None => "none",
    };
    judge.equal("transport", carried, transport);
    let id = match (result.refused, result.closed, result.ids.len()) {
        (true, ..) => "refused",
        (_, true, _) => "closed",
        (_, _, 1) => "same",
        _ => "new",
    };
    judge.equal("connection", id, connection);
    judge.equal("dials after the refusal", result.dials_after_refusal, 0);
    judge.equal("faces", result.faces, *faces);
    judge.most("moves", result.moves as i64, moves_max.map(|most| most as i64));
    if let (Some(most), Some(fault)) = (face_gone_ms_max, row.faults.last()) {
        let gone = result.face_gone.map_or(i64::MAX, |at| at / 1000 - fault.at_ms);
        judge.most("face gone ms", gone, Some(*most));
    }
    // Numbered frames alone may go by both lanes.
    if !row.numbered {
        judge.equal("frames by both lanes", result.sends_both, 0);
    }
    // A state machine that asks to be called again and again at one moment would busy its driver.
    judge.most("timeouts", result.timeouts as i64, Some(row.run_ms / 10));
    judge.failures
}

#[test]
fn connection_fault_table_outcomes_are_met() {
    let only = std::env::var("FACELINK_ROW").ok();
    let mut failures = Vec::new();
    for row in table().rows.into_iter().filter(|row| only.as_ref().is_none_or(|only| *only == row.name)) {
        let (mut worst, mut moves) = ([0; 6], 0);
        for seed in 0..SEEDS {
            let result = World::new(row.clone(), seed).run();
            let end = row.run_ms * 1000;
            let mut note = |i: usize, value: i64| worst[i] = worst[i].max(value);
            for (i, seen) in [(0, &result.up), (3, &result.down)] {
                note(i, seen.lost(end - 1_000_000) as i64);
                note(i + 1, seen.gap_ms(end));
                let ends = row.faults.iter().filter_map(|fault| Some(fault.at_ms + fault.for_ms?));
                note(i + 2, ends.filter_map(|at| seen.return_ms(at * 1000)).max().unwrap_or(-1));
            }
            moves = moves.max(result.moves);
            failures.extend(judge(&row, &result).into_iter().map(|what| format!("{} (seed {seed}): {what}", row.name)));
            if only.is_some() && seed == 0 {
                for (ms, what) in &result.log {
                    println!("{ms:>6} {what}");
                }
            }
        }
        let [up, gap, back, down, down_gap, down_back] = worst;
        println!(
            "{:<32} up lost {up:>3} gap {gap:>5} return {back:>5} | down lost {down:>3} gap {down_gap:>5} return {down_back:>5} | moves {moves}",
            row.name
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn connection_fault_table_rows_are_unique_and_cover_every_kind() {
    let rows = table().rows;
    let names: std::collections::HashSet<_> = rows.iter().map(|row| &row.name).collect();
    assert_eq!(names.len(), rows.len(), "a name occurs twice");
    assert!(rows.len() >= 20);
    let kinds: std::collections::HashSet<String> =
        rows.iter().flat_map(|row| &row.faults).map(|fault| format!("{:?}", fault.kind)).collect();
    assert_eq!(kinds.len(), 16, "{kinds:?}");
}
