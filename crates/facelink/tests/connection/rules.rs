//! Rules that hold for a single [`Connection`].

use std::time::{Duration, Instant};

use facelink::connection::{Action, Cause, Close, Config, Connection, Event, Lane, PeerId, Route, SocketId};

const MS: Duration = Duration::from_millis(1);

fn actions(connection: &mut Connection) -> Vec<Action> {
    std::iter::from_fn(|| connection.poll_action()).collect()
}

fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

/// A client with both transports, and when.
fn connected() -> (Connection, SocketId, PeerId, Instant) {
    let mut now = Instant::now();
    let mut client = Connection::dial(Config::default(), now);
    let Some(Action::Dial(socket)) = client.poll_action() else { panic!("dials at once") };
    now += MS * 20;
    client.on_socket_opened(socket, now);
    let ping = actions(&mut client).into_iter().find_map(|action| match action {
        Action::Ping(Lane::WebSocket, clock) => Some(clock),
        _ => None,
    });
    now += MS * 20;
    assert_eq!(client.on_pong(Lane::WebSocket, ping.expect("pings at once"), now), Some(MS * 20));
    client.on_welcome(Some("id".into()), false, now);
    let peer = actions(&mut client).into_iter().find_map(|action| match action {
        Action::Offer(peer) => Some(peer),
        _ => None,
    });
    let peer = peer.expect("offers as soon as it is welcome");
    client.on_channel_opened(peer, true, now);
    let ping = actions(&mut client).into_iter().find_map(|action| match action {
        Action::Ping(Lane::DataChannel, clock) => Some(clock),
        _ => None,
    });
    assert_eq!(client.lane(), Some(Lane::WebSocket), "an open channel is not a proven one");
    now += MS * 20;
    assert_eq!(client.on_pong(Lane::DataChannel, ping.expect("pings at once"), now), Some(MS * 20));
    assert_eq!(client.lane(), Some(Lane::DataChannel));
    events(&mut client);
    (client, socket, peer, now)
}

#[test]
fn connection_route_allocates_nothing() {
    let (mut client, _, _, now) = connected();
    let allocations = allocation_counter::measure(|| {
        for i in 0..60 {
            assert!(!client.route(true, now + MS * i).is_none());
        }
    });
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn connection_route_repeats_numbered_frames_only_while_channel_is_suspect() {
    let (mut client, _, _, now) = connected();
    let trusted = Route { channel: true, websocket: false, fallback: true };
    assert_eq!(client.route(true, now), trusted);
    client.on_timeout(now + MS * 100);
    // The ping of a moment ago is not answered for 200 ms.
    let silent = now + MS * 310;
    assert_eq!(client.route(true, silent - MS * 20), trusted);
    assert!(client.route(true, silent).is_both());
    assert_eq!(client.route(false, silent), Route { websocket: true, ..Route::default() });
}

#[test]
fn connection_pong_with_unknown_clock_changes_nothing() {
    let (mut client, _, _, now) = connected();
    let rtt = client.rtt_ms(Lane::DataChannel);
    for clock in [u64::MAX, u64::MAX / 1000, 3_600_000_000] {
        assert_eq!(client.on_pong(Lane::DataChannel, clock, now), None, "{clock}");
    }
    assert_eq!(client.rtt_ms(Lane::DataChannel), rtt);
}

#[test]
fn connection_reports_of_replaced_transport_change_nothing() {
    let (mut client, socket, peer, now) = connected();
    client.on_socket_closed(socket, Cause::Broken, now);
    assert_eq!(client.lane(), Some(Lane::DataChannel), "the channel carries on");
    let again = now + MS * 200;
    client.on_timeout(again);
    let dial = actions(&mut client).into_iter().find_map(|action| match action {
        Action::Dial(socket) => Some(socket),
        _ => None,
    });
    let second = dial.expect("dials again");
    client.on_socket_opened(second, again);
    assert!(actions(&mut client).contains(&Action::Hello(second, Some("id".into()))), "resumes");
    client.on_welcome(Some("id".into()), true, again);
    events(&mut client);
    client.on_socket_closed(socket, Cause::Closed(Some(4401)), again);
    client.on_socket_failed(socket, true, again);
    client.on_channel_closed(PeerId(peer.0 + 100), again);
    assert_eq!(events(&mut client), []);
    assert!(client.is_socket_ready() && !client.is_over());
    // One that opens late is closed again.
    client.on_socket_opened(socket, again);
    assert_eq!(actions(&mut client), [Action::CloseSocket(socket, Close::Drop)]);
}

#[test]
fn connection_goodbye_without_answer_ends_within_half_a_second() {
    let (mut client, socket, peer, now) = connected();
    client.close(now);
    assert_eq!(actions(&mut client), [Action::CloseSocket(socket, Close::Frame(1000, "")), Action::ClosePeer(peer)]);
    assert!(client.route(true, now).is_none(), "frames before it are flushed by the driver");
    let limit = client.poll_timeout().expect("a limit");
    assert!(limit <= now + MS * 500);
    client.on_timeout(limit - MS);
    assert!(!client.is_over());
    client.on_timeout(limit);
    assert_eq!((events(&mut client), client.is_over()), (vec![Event::Closed], true));
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn connection_goodbye_ends_once_both_transports_have_ended() {
    let (mut client, socket, peer, now) = connected();
    client.close(now);
    client.on_socket_closed(socket, Cause::Closed(Some(1000)), now);
    assert!(!client.is_over());
    client.on_channel_closed(peer, now);
    assert!(client.is_over());
}

/// A connection whose client closes its WebSocket with a goodbye: whether it ends, and for how long its faces are kept.
fn after_goodbye(answers_before: bool, answers_after: bool) -> Option<(bool, Duration)> {
    let mut now = Instant::now();
    let mut endpoint = Connection::accept(Config::default(), now);
    endpoint.on_socket_opened(SocketId(1), now);
    endpoint.on_introduced();
    endpoint.on_peer_opened(PeerId(2), now);
    endpoint.on_channel_opened(PeerId(2), true, now);
    for i in 0..300 {
        now += MS * 10;
        endpoint.on_timeout(now);
        if i == 100 {
            endpoint.on_socket_closed(SocketId(1), Cause::Closed(Some(1000)), now);
        }
        for action in actions(&mut endpoint) {
            if let Action::Ping(Lane::DataChannel, clock) = action
                && if i < 100 { answers_before } else { answers_after }
            {
                endpoint.on_pong(Lane::DataChannel, clock, now);
            }
        }
    }
    let ended = events(&mut endpoint).into_iter().find_map(|event| match event {
        Event::Disconnected { goodbye, keep_faces, .. } => Some((goodbye, keep_faces)),
        _ => None,
    });
    assert_eq!(endpoint.is_over(), ended.is_some());
    ended
}

#[test]
fn connection_goodbye_by_websocket_ends_silent_channel() {
    // Together with the time that it took to be sure, a second.
    assert_eq!(after_goodbye(true, false), Some((true, MS * 700)));
}

#[test]
fn connection_goodbye_by_websocket_keeps_answering_or_unproven_channel() {
    assert_eq!(after_goodbye(true, true), None);
    assert_eq!(after_goodbye(false, false), None);
}

/// A client of another make that is not pinged and has nothing to say, such as a viewer: what arrives on its path shows that it
/// lives, and ends the connection when it ends, as with the driver of the peer connection.
#[test]
fn connection_silent_path_ends_a_client_that_is_not_pinged() {
    let mut now = Instant::now();
    let mut endpoint = Connection::accept(Config::default(), now);
    endpoint.on_peer_opened(PeerId(2), now);
    endpoint.on_channel_opened(PeerId(2), true, now);
    let mut pass = |endpoint: &mut Connection, seconds: u32, path: bool| {
        for _ in 0..10 * seconds {
            now += MS * 100;
            if path {
                endpoint.on_path_heard(PeerId(2), now);
            }
            endpoint.on_timeout(now);
        }
        assert!(!actions(endpoint).iter().any(|action| matches!(action, Action::Ping(..))));
    };
    pass(&mut endpoint, 60, true);
    assert!(!endpoint.is_over());
    pass(&mut endpoint, 7, false);
    assert!(!endpoint.is_over());
    pass(&mut endpoint, 2, false);
    assert!(endpoint.is_over());
    let ended = events(&mut endpoint)
        .into_iter()
        .any(|event| matches!(event, Event::Disconnected { cause: Cause::Silent, goodbye: false, .. }));
    assert!(ended);
}

#[test]
fn connection_missing_token_ends_after_five_seconds() {
    let start = Instant::now();
    let mut config = Config::default();
    config.authorised = false;
    let mut endpoint = Connection::accept(config, start);
    endpoint.on_socket_opened(SocketId(1), start);
    while let Some(at) = endpoint.poll_timeout() {
        endpoint.on_heard(Lane::WebSocket, at);
        endpoint.on_timeout(at);
        assert!(at <= start + MS * 5000);
    }
    assert!(actions(&mut endpoint).contains(&Action::CloseSocket(SocketId(1), Close::Frame(4401, "no token in time"))));
}

#[test]
fn connection_invalid_rate_changes_nothing() {
    let (mut client, _, _, _) = connected();
    for fps in [f32::NAN, f32::INFINITY, 0.0, -1.0] {
        client.on_rate(fps);
    }
    client.on_rate(30.0);
    client.on_rate(30.0);
    client.on_redundancy(2);
    assert_eq!(events(&mut client), [Event::Rate(30.0), Event::Redundancy(2)]);
    assert_eq!((client.rate(), client.redundancy()), (Some(30.0), 2));
}
