//! Age of a frame: from the sender's `send` to the written `MorphWeights`, over real sockets on loopback, compared with a
//! bare UDP echo at the same pace in the same run.
//!
//! Two engines are measured: one that updates as fast as it can (what the transport and our systems cost), and one at 60
//! frames a second (what a player sees; the wait for the next frame, 8.3 ms on average, is in it).

use std::{
    net::UdpSocket,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bevy::{
    asset::RenderAssetUsages,
    mesh::{
        Mesh, PrimitiveTopology,
        morph::{MeshMorphWeights, MorphAttributes, MorphWeights},
    },
    prelude::*,
};
use bevy_facelink::{
    FaceAvatar, FaceLinkEndpoint, FaceLinkPlugin, FacePlayout, FaceSettings,
    facelink::{Blendshape, FaceFrame, source::SourceKind, wire::llf},
    net::{Client, ClientConfig, ClientState},
};

type Failure = Box<dyn std::error::Error>;

/// Frames a second that are sent.
const PACE: Duration = Duration::from_nanos(16_666_667);
const FRAMES: usize = 600;
/// The first frames fade in, and are not counted.
const WARM_UP: usize = 60;
/// Steps of the weight by which a frame is recognised; as many as the 8 bits of a compact frame distinguish with room to
/// spare.
const STEPS: usize = 100;

/// When each frame was sent.
type Sent = Arc<Mutex<Vec<Instant>>>;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn frame(i: usize) -> FaceFrame {
    let mut frame = FaceFrame::neutral();
    frame.set(Blendshape::JawOpen, (i % STEPS) as f32 / STEPS as f32);
    frame
}

/// Calls `send` at the pace, from a thread of its own.
fn paced(sent: Sent, done: Arc<AtomicBool>, mut send: impl FnMut(usize) + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let start = Instant::now();
        for i in 0..FRAMES {
            let due = start + PACE * i as u32;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            lock(&sent).push(Instant::now());
            send(i);
        }
        thread::sleep(Duration::from_millis(200));
        done.store(true, Ordering::Relaxed);
    })
}

fn report(name: &str, mut ages: Vec<f64>, sent: usize) {
    ages.sort_by(f64::total_cmp);
    let at = |share: f64| ages.get(((ages.len() as f64 - 1.0) * share) as usize).copied().unwrap_or(f64::NAN);
    println!("{name:<44} median {:7.3} ms   p99 {:7.3} ms   seen {}/{sent}", at(0.5), at(0.99), ages.len());
}

fn app() -> Result<(App, Entity), Failure> {
    let plugin = FaceLinkPlugin::default().port(0).live_link_face(Some(0)).udp_json(None);
    // The transport alone, without what playout adds: half the time between two frames on a good network.
    let plugin = FaceLinkPlugin { settings: FaceSettings { playout: FacePlayout::latest(), ..default() }, ..plugin };
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
    app.init_asset::<Mesh>();
    app.finish();
    app.cleanup();
    let mesh = Mesh::new(PrimitiveTopology::TriangleList, RenderAssetUsages::all())
        .with_inserted_attribute(Mesh::ATTRIBUTE_POSITION, vec![[0.0_f32; 3]; 3])
        .with_morph_targets(vec![MorphAttributes::default(); 52 * 3])
        .with_morph_target_names(Blendshape::ALL.iter().map(|shape| shape.name().to_owned()).collect());
    let handle = app.world_mut().resource_mut::<Assets<Mesh>>().add(mesh);
    let weights = MorphWeights::new(vec![0.0; 52], Some(handle.clone()))?;
    let node = app.world_mut().spawn((weights, Transform::default(), FaceAvatar::default())).id();
    app.world_mut().entity_mut(node).with_child((Mesh3d(handle), MeshMorphWeights::Reference(node)));
    Ok((app, node))
}

/// Updates until the sender is done, and gives the age of each frame when its weight was first there.
fn watch(app: &mut App, node: Entity, sent: &Sent, done: &AtomicBool, every: Option<Duration>) -> Vec<f64> {
    let mut ages = Vec::with_capacity(FRAMES);
    let (mut last, mut wrapped) = (usize::MAX, 0);
    let mut next = Instant::now();
    while !done.load(Ordering::Relaxed) {
        app.update();
        let now = Instant::now();
        let weight =
            app.world().get::<MorphWeights>(node).map_or(0.0, |morph| morph.weights()[Blendshape::JawOpen.index()]);
        let step = (weight * STEPS as f32).round() as usize;
        let total = lock(sent).len();
        if step != last && total > 0 {
            if last != usize::MAX && step < last {
                wrapped += STEPS;
            }
            last = step;
            let i = step + wrapped;
            if i >= WARM_UP && i < total {
                ages.push(now.duration_since(lock(sent)[i]).as_secs_f64() * 1000.0);
            }
        }
        match every {
            Some(every) => {
                next += every;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            // Leaves the core to the other threads for a moment, as a real machine has more than two.
            None => thread::sleep(Duration::from_micros(100)),
        }
    }
    ages
}

fn measure(kind: SourceKind, every: Option<Duration>) -> Result<(), Failure> {
    let (mut app, node) = app()?;
    let endpoint = app.world().resource::<FaceLinkEndpoint>();
    let addresses = endpoint.addresses();
    let runtime = endpoint.runtime().ok_or("no runtime")?.clone();
    let (sent, done) = (Sent::default(), Arc::new(AtomicBool::new(false)));
    let sender = match kind {
        SourceKind::LiveLinkFace => {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(addresses.live_link_face.ok_or("no port")?)?;
            let (profile, mut bytes) = (llf::PROFILE, Vec::new());
            paced(sent.clone(), done.clone(), move |i| {
                bytes.clear();
                let packet = llf::LlfPacket::new("bench", "bench", i as i32, frame(i));
                if llf::encode(&packet, &profile, &mut bytes).is_ok() {
                    let _ = socket.send(&bytes);
                }
            })
        }
        _ => {
            let mut config = ClientConfig::new(format!("ws://{}", addresses.http)).subject("bench");
            config.webrtc = kind == SourceKind::WebRtc;
            let client = Client::start(config, &runtime);
            runtime.block_on(client.wait_for(|state| *state == ClientState::Connected(kind)));
            paced(sent.clone(), done.clone(), move |i| client.send(frame(i)))
        }
    };
    let ages = watch(&mut app, node, &sent, &done, every);
    sender.join().map_err(|_| "the sender panicked")?;
    let engine = if every.is_some() { "60 fps engine" } else { "fast engine" };
    report(&format!("{kind}, {engine}"), ages, FRAMES - WARM_UP);
    Ok(())
}

/// One way of a bare UDP echo: half its round trip.
fn echo() -> Result<(), Failure> {
    let server = UdpSocket::bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..len], from);
        }
    });
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(address)?;
    let (mut buffer, mut ages) = ([0; 2048], Vec::new());
    let start = Instant::now();
    for i in 0..FRAMES {
        thread::sleep((start + PACE * i as u32).saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        client.send(&[7; 319])?;
        client.recv(&mut buffer)?;
        if i >= WARM_UP {
            ages.push(sent.elapsed().as_secs_f64() * 500.0);
        }
    }
    report("bare UDP echo, half the round trip", ages, FRAMES - WARM_UP);
    Ok(())
}

fn main() -> Result<(), Failure> {
    println!("age of a frame, send to MorphWeights, loopback, {FRAMES} frames at 60 Hz each");
    echo()?;
    for every in [None, Some(PACE)] {
        for kind in [SourceKind::WebRtc, SourceKind::WebSocket, SourceKind::LiveLinkFace] {
            measure(kind, every)?;
        }
    }
    echo()
}
