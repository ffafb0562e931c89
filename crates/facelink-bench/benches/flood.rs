//! What a flood of datagrams does to the engine's frame: an App at 60 frames a second with ten avatars and one face from
//! a phone, while another of its ports gets 100,000 datagrams a second, compared with the same App without the flood. Both run
//! in turn, several times, so that whatever else the machine does falls on both.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
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
    FaceAvatar, FaceLinkEndpoint, FaceLinkPlugin,
    facelink::{
        Blendshape,
        performer::Performance,
        wire::{json::write_arkit_data, llf},
    },
    net::PhonePorts,
};

type Failure = Box<dyn std::error::Error>;

const PACE: Duration = Duration::from_nanos(16_666_667);
const FRAMES: usize = 300;
const ROUNDS: usize = 4;
const RATE: f64 = 100_000.0;
const AVATARS: usize = 10;

/// Runs `each` over and over on a thread of its own until told to stop.
struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Background {
    fn start(mut each: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                each();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn phone(to: SocketAddr) -> Result<Background, Failure> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let (performance, start, mut bytes, mut number) = (Performance::new(1), Instant::now(), Vec::new(), 0);
    Ok(Background::start(move || {
        bytes.clear();
        let packet = llf::LlfPacket::new("bench", "bench", number, performance.frame_at(start.elapsed()));
        if llf::encode(&packet, &llf::PROFILE, &mut bytes).is_ok() {
            let _ = socket.send_to(&bytes, to);
        }
        number += 1;
        thread::sleep((start + PACE * number as u32).saturating_duration_since(Instant::now()));
    }))
}

fn flood(to: SocketAddr, garbage: bool, sent: Arc<AtomicU64>) -> Result<Background, Failure> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut text = String::new();
    write_arkit_data(&mut text, &Performance::new(2).frame_at(Duration::from_secs(1)), Some("flood"), None);
    let datagram = if garbage { vec![0x9b; 400] } else { text.into_bytes() };
    let (start, mut count) = (Instant::now(), 0_u64);
    Ok(Background::start(move || {
        let due = (start.elapsed().as_secs_f64() * RATE) as u64;
        while count < due {
            if socket.send_to(&datagram, to).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
            count += 1;
        }
        thread::sleep(Duration::from_micros(200));
    }))
}

fn app() -> Result<App, Failure> {
    let plugin = FaceLinkPlugin::default().port(0).live_link_face(Some(0)).udp_json(Some(0)).phones(PhonePorts::free());
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), TransformPlugin, plugin));
    app.init_asset::<Mesh>();
    app.finish();
    app.cleanup();
    let mesh = Mesh::new(PrimitiveTopology::TriangleList, RenderAssetUsages::all())
        .with_inserted_attribute(Mesh::ATTRIBUTE_POSITION, vec![[0.0_f32; 3]; 3])
        .with_morph_targets(vec![MorphAttributes::default(); 52 * 3])
        .with_morph_target_names(Blendshape::ALL.iter().map(|shape| shape.name().to_owned()).collect());
    let handle = app.world_mut().resource_mut::<Assets<Mesh>>().add(mesh);
    for _ in 0..AVATARS {
        let weights = MorphWeights::new(vec![0.0; 52], Some(handle.clone()))?;
        let node = app.world_mut().spawn((weights, Transform::default(), FaceAvatar::of("bench"))).id();
        app.world_mut().entity_mut(node).with_child((Mesh3d(handle.clone()), MeshMorphWeights::Reference(node)));
    }
    Ok(app)
}

/// Times of `FRAMES` updates, milliseconds.
fn frames(app: &mut App) -> Vec<f64> {
    let mut next = Instant::now();
    let frames = (0..FRAMES).map(|_| {
        let begin = Instant::now();
        app.update();
        let took = begin.elapsed().as_secs_f64() * 1000.0;
        next += PACE;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        took
    });
    frames.collect()
}

fn main() -> Result<(), Failure> {
    let mut app = app()?;
    let endpoint = app.world().resource::<FaceLinkEndpoint>();
    let addresses = endpoint.addresses();
    let _phone = phone(addresses.live_link_face.ok_or("no port")?)?;
    let other = addresses.udp_json.ok_or("no port")?;
    frames(&mut app);
    let mut times: [Vec<f64>; 3] = Default::default();
    let mut rates = [0.0; 3];
    for _ in 0..ROUNDS {
        for (kind, times) in times.iter_mut().enumerate() {
            let (sent, begin) = (Arc::new(AtomicU64::new(0)), Instant::now());
            let flood = if kind > 0 { Some(flood(other, kind == 1, sent.clone())?) } else { None };
            times.extend(frames(&mut app));
            drop(flood);
            rates[kind] = sent.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
        }
    }
    println!("update of an App with {AVATARS} avatars and a face at 60 Hz, while another port is flooded");
    let mut quiet = [f64::NAN; 2];
    for ((name, mut times), rate) in ["no flood", "garbage", "good faces"].into_iter().zip(times).zip(rates) {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times.get(((times.len() - 1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
        if quiet[0].is_nan() {
            quiet = [at(0.5), at(0.99)];
        }
        println!(
            "{name:<12} {rate:>8.0}/s   median {:6.3} ms ({:4.2}x)   p99 {:6.3} ms ({:4.2}x)   worst {:6.3} ms",
            at(0.5),
            at(0.5) / quiet[0],
            at(0.99),
            at(0.99) / quiet[1],
            at(1.0)
        );
    }
    Ok(())
}
