//! Every phone app, by bytes written here from the formats' descriptions, on an avatar in a running App.
//!
//! The encoders of the core are left out on purpose: a sign that is wrong on both sides would not be seen.

use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    time::Duration,
};

use bevy::{
    asset::UnapprovedPathMode,
    mesh::morph::MorphWeights,
    prelude::*,
    render::{RenderPlugin, settings::WgpuSettings},
    window::ExitCondition,
    winit::WinitPlugin,
    world_serialization::WorldAssetRoot,
};
use bevy_facelink::{
    BindReport, CaptureNeutral, ClearCalibration, FaceAvatar, FaceLinkEndpoint, FaceLinkPlugin, FacePlayout, FacePose,
    FaceSettings, FaceSubjects, RecentreHead, facelink::Blendshape,
};
use facelink_net::{PhonePort, PhonePorts, SourceKind};
use rosc::{OscBundle, OscMessage, OscPacket, OscTime, OscType};

use crate::support::{near, update_until};

/// All of Bevy that the avatar needs, no window and no graphics adapter, and every port for phones, each a free one.
fn app() -> App {
    let mut app = App::new();
    let plugin = FaceLinkPlugin::default().port(0).live_link_face(Some(0)).udp_json(Some(0)).phones(PhonePorts::free());
    app.add_plugins((
        DefaultPlugins
            .set(AssetPlugin {
                file_path: Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").display().to_string(),
                unapproved_path_mode: UnapprovedPathMode::Allow,
                ..default()
            })
            .set(WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() })
            .set(RenderPlugin { render_creation: WgpuSettings { backends: None, ..default() }.into(), ..default() })
            .disable::<WinitPlugin>()
            .disable::<bevy::log::LogPlugin>(),
        plugin,
    ));
    app.finish();
    app.cleanup();
    app
}

/// What a phone sends: a face whose sides differ, and a head and eyes in degrees.
#[derive(Clone, Copy, Debug, Default)]
struct Pose {
    /// The chin goes to the chest.
    nod_down: f32,
    /// The nose goes to the performer's left.
    turn_left: f32,
    /// The performer's left ear goes up.
    tilt: f32,
    /// Both eyes to the performer's left.
    look_left: f32,
    /// Both eyes up.
    look_up: f32,
}

const SHAPES: [(Blendshape, f32); 6] = [
    (Blendshape::EyeBlinkLeft, 0.25),
    (Blendshape::MouthSmileRight, 0.75),
    (Blendshape::JawLeft, 0.5),
    (Blendshape::MouthRight, 0.4),
    (Blendshape::JawOpen, 0.6),
    (Blendshape::TongueOut, 0.2),
];

fn weight(shape: Blendshape) -> f32 {
    SHAPES.iter().find(|(other, _)| *other == shape).map_or(0.0, |(_, weight)| *weight)
}

/// One app on the phone.
trait Phone {
    /// Sends one frame; `None` once the face is lost.
    fn send(&mut self, pose: Option<Pose>);
}

struct Wire {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Wire {
    fn new(to: SocketAddr) -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").expect("a socket"), to }
    }

    fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.to).expect("sent");
    }
}

struct LiveLinkFace(Wire, u32);

impl Phone for LiveLinkFace {
    fn send(&mut self, pose: Option<Pose>) {
        let mut bytes = vec![6, 0, 0, 0, 36];
        bytes.extend_from_slice(b"00000000-0000-0000-0000-000000000001");
        bytes.extend_from_slice(&[0, 0, 0, 5]);
        bytes.extend_from_slice(b"Phone");
        self.1 += 1;
        bytes.extend_from_slice(&self.1.to_be_bytes());
        bytes.extend_from_slice(&0.25_f32.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 60, 0, 0, 0, 1]);
        if let Some(pose) = pose {
            bytes.push(61);
            let mut curves = Blendshape::ALL.map(weight).to_vec();
            // The app exchanges these two.
            curves.swap(Blendshape::MouthLeft.index(), Blendshape::MouthRight.index());
            let radians = [pose.turn_left, -pose.nod_down, pose.tilt].map(f32::to_radians);
            let eye = [-pose.look_left, -pose.look_up, 0.0].map(f32::to_radians);
            curves.extend(radians.into_iter().chain(eye).chain(eye));
            bytes.extend(curves.iter().flat_map(|curve| curve.to_be_bytes()));
        }
        self.0.send(&bytes);
    }
}

/// iFacialMocap v1 and v2, and Facemotion3d: text.
struct Text {
    wire: Wire,
    separator: char,
    camel_case: bool,
}

impl Text {
    /// As Apple's constants have it, or in camel case.
    fn name(&self, shape: Blendshape) -> String {
        let name = shape.name();
        if self.camel_case || !shape.is_paired() {
            return name.to_owned();
        }
        name.replace("Left", "_L").replace("Right", "_R")
    }
}

impl Phone for Text {
    fn send(&mut self, pose: Option<Pose>) {
        let mut text = String::new();
        let mut pair = |name: &str, value: f32| text.push_str(&format!("{name}{}{}|", self.separator, value.round()));
        if !self.camel_case {
            pair("trackingStatus", if pose.is_some() { 1.0 } else { 0.0 });
        }
        // No order is promised.
        for shape in Blendshape::ALL.into_iter().rev() {
            pair(&self.name(shape), 100.0 * weight(shape));
        }
        let Pose { nod_down, turn_left, tilt, look_left, look_up } = pose.unwrap_or_default();
        let eye = format!("{},{look_left},0", -look_up);
        text.push_str(&format!("=head#{nod_down},{turn_left},{tilt},0.01,0.02,-0.4|rightEye#{eye}|leftEye#{eye}|"));
        self.wire.send(text.as_bytes());
    }
}

/// `FMV3`, started by the phone.
struct Fmv3 {
    wire: Wire,
    sequence: u32,
    agreed: bool,
}

impl Fmv3 {
    fn datagram(&self, kind: u8, flags: u8, sequence: u32, body: &[u8], part: (u16, u16), total: u32) -> Vec<u8> {
        let mut bytes = b"FMV3".to_vec();
        bytes.extend_from_slice(&[kind, flags, 40, 0]);
        bytes.extend_from_slice(&0x0807_0605_0403_0201_u64.to_le_bytes());
        for number in [1, sequence, 42, total] {
            bytes.extend_from_slice(&u32::to_le_bytes(number));
        }
        bytes.extend_from_slice(&part.0.to_le_bytes());
        bytes.extend_from_slice(&part.1.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// Names the shapes, in parts of 536 bytes, until they are acknowledged.
    fn agree(&mut self) {
        let names: Vec<String> = Blendshape::ALL.iter().map(|shape| format!("{:?}", shape.name())).collect();
        let json = format!(
            r#"{{"schema_version":1,"app":"iFacialMocap","profile":"default","blend_names":[{}],"blend_encoding":"i16","blend_unit":"percent","pose_layout":"head_rxyz_pxyz_rightEye_rxyz_leftEye_rxyz","rotation_unit":"degree","position_unit":"meter"}}"#,
            names.join(",")
        );
        let mut body = Vec::new();
        body.extend_from_slice(&0_u64.to_le_bytes());
        body.extend_from_slice(&60_u16.to_le_bytes());
        body.extend_from_slice(&1200_u16.to_le_bytes());
        body.extend_from_slice(&10_000_u32.to_le_bytes());
        body.extend_from_slice(&5_u32.to_le_bytes());
        body.extend_from_slice(json.as_bytes());
        let parts: Vec<_> = body.chunks(536).collect();
        for (index, part) in parts.iter().enumerate() {
            let place = (index as u16, parts.len() as u16);
            let datagram = self.datagram(2, 0, 0, part, place, body.len() as u32);
            self.wire.send(&datagram);
        }
        self.wire.socket.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
        let mut answer = [0; 1500];
        while let Ok((len, _)) = self.wire.socket.recv_from(&mut answer) {
            if answer[..len].starts_with(b"FMV3\x03") {
                self.agreed = true;
                return;
            }
        }
    }
}

impl Phone for Fmv3 {
    fn send(&mut self, pose: Option<Pose>) {
        if !self.agreed {
            return self.agree();
        }
        let Pose { nod_down, turn_left, tilt, look_left, look_up } = pose.unwrap_or_default();
        let percents = Blendshape::ALL.map(|shape| (100.0 * weight(shape)).round() as i16);
        let mut body: Vec<u8> = percents.iter().flat_map(|percent| percent.to_le_bytes()).collect();
        let eye = [-look_up, look_left, 0.0];
        let head = [nod_down, turn_left, tilt, 0.01, 0.02, -0.4];
        body.extend(head.iter().chain(&eye).chain(&eye).flat_map(|number| number.to_le_bytes()));
        self.sequence += 1;
        let datagram = self.datagram(4, u8::from(pose.is_some()), self.sequence, &body, (0, 1), body.len() as u32);
        self.wire.send(&datagram);
    }
}

fn osc(address: &str, args: Vec<OscType>) -> OscPacket {
    OscPacket::Message(OscMessage { addr: address.to_owned(), args })
}

fn bundle(content: Vec<OscPacket>) -> Vec<u8> {
    rosc::encoder::encode(&OscPacket::Bundle(OscBundle { timetag: OscTime { seconds: 0, fractional: 1 }, content }))
        .expect("encodes")
}

fn floats(values: &[f32]) -> Vec<OscType> {
    values.iter().map(|value| OscType::Float(*value)).collect()
}

struct FaceCap(Wire);

/// Face Cap's own order.
const FACE_CAP: [&str; 52] = [
    "browInnerUp",
    "browDownLeft",
    "browDownRight",
    "browOuterUpLeft",
    "browOuterUpRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
    "jawOpen",
    "jawForward",
    "jawLeft",
    "jawRight",
    "mouthFunnel",
    "mouthPucker",
    "mouthLeft",
    "mouthRight",
    "mouthRollUpper",
    "mouthRollLower",
    "mouthShrugUpper",
    "mouthShrugLower",
    "mouthClose",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "tongueOut",
];

impl Phone for FaceCap {
    fn send(&mut self, pose: Option<Pose>) {
        // It falls silent.
        let Some(Pose { nod_down, turn_left, tilt, look_left, look_up }) = pose else { return };
        let mut content = vec![
            osc("/HT", floats(&[0.01, 0.02, -0.4])),
            osc("/HR", floats(&[nod_down, turn_left, tilt])),
            osc("/ELR", floats(&[-look_up, look_left])),
            osc("/ERR", floats(&[-look_up, look_left])),
        ];
        content.extend(FACE_CAP.iter().enumerate().map(|(index, name)| {
            let shape = Blendshape::from_name(name).expect("a shape");
            osc("/W", vec![OscType::Int(index as i32), OscType::Float(weight(shape))])
        }));
        self.0.send(&bundle(content));
    }
}

struct Vmc(Wire);

impl Phone for Vmc {
    fn send(&mut self, pose: Option<Pose>) {
        let tracked = i32::from(pose.is_some());
        let Pose { nod_down, turn_left, tilt, look_left, look_up } = pose.unwrap_or_default();
        // Unity, left-handed: +X to the performer's right. Positive about x is down, about y to the right, and about z
        // lifts the right side.
        let turn = |x: f32, y: f32, z: f32| {
            let [x, y, z] = [x, y, z].map(f32::to_radians);
            let rotation = Quat::from_euler(EulerRot::YXZ, y, x, z);
            [0.0, 0.0, 0.0, rotation.x, rotation.y, rotation.z, rotation.w]
        };
        let bone = |name: &str, turned: [f32; 7]| {
            let mut args = vec![OscType::String(name.to_owned())];
            args.extend(floats(&turned));
            osc("/VMC/Ext/Bone/Pos", args)
        };
        let ints = |values: [i32; 4]| values.map(OscType::Int).to_vec();
        let mut content = vec![osc("/VMC/Ext/OK", ints([1, 3, 0, tracked])), osc("/VMC/Ext/T", floats(&[1.5]))];
        content.push(bone("Head", turn(nod_down, -turn_left, -tilt)));
        for eye in ["LeftEye", "RightEye"] {
            content.push(bone(eye, turn(-look_up, -look_left, 0.0)));
        }
        for shape in Blendshape::ALL {
            let name = shape.name();
            let pascal = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
            let args = vec![OscType::String(pascal), OscType::Float(weight(shape))];
            content.push(osc("/VMC/Ext/Blend/Val", args));
        }
        content.push(osc("/VMC/Ext/Blend/Apply", Vec::new()));
        // A frame may span several datagrams.
        let second = content.split_off(30);
        for part in [content, second] {
            self.0.send(&bundle(part));
        }
    }
}

struct VTubeStudio(Wire, u64);

impl Phone for VTubeStudio {
    fn send(&mut self, pose: Option<Pose>) {
        self.1 += 16;
        let found = pose.is_some();
        let Pose { nod_down, turn_left, tilt, look_left, look_up } = pose.unwrap_or_default();
        let shapes: Vec<String> = Blendshape::ALL
            .iter()
            .map(|shape| {
                let name = shape.name();
                format!(r#"{{"k":"{}{}","v":{}}}"#, name[..1].to_uppercase(), &name[1..], weight(*shape))
            })
            .collect();
        let eye = format!(r#"{{"x":{},"y":{look_left},"z":0.0}}"#, -look_up);
        // ARKit's own angles, x and y exchanged: turned right is negative x, down is positive y.
        let head = format!(r#"{{"x":{turn_left},"y":{nod_down},"z":{tilt}}}"#);
        let text = format!(
            r#"{{"Timestamp":{},"Hotkey":-1,"FaceFound":{found},"Rotation":{head},"Position":{{"x":0.1,"y":0.2,"z":-4.0}},"EyeLeft":{eye},"EyeRight":{eye},"BlendShapes":[{}]}}"#,
            1_700_000_000_000_u64 + self.1,
            shapes.join(",")
        );
        self.0.send(text.as_bytes());
    }
}

struct Json(Wire);

impl Phone for Json {
    fn send(&mut self, pose: Option<Pose>) {
        let tracked = pose.is_some();
        let Pose { nod_down, turn_left, tilt, .. } = pose.unwrap_or_default();
        let shapes: Vec<String> =
            Blendshape::ALL.iter().map(|shape| format!(r#""{}":{}"#, shape.name(), weight(*shape))).collect();
        let [x, y, z] = [nod_down, turn_left, tilt].map(f32::to_radians);
        let [x, y, z, w] = Quat::from_euler(EulerRot::YXZ, y, x, z).to_array();
        self.0.send(
            format!(
                r#"{{"blendshapes":{{{}}},"head":{{"rotation":[{x},{y},{z},{w}],"position":[0.01,0.02,-0.4]}},"tracked":{tracked}}}"#,
                shapes.join(",")
            )
            .as_bytes(),
        );
    }
}

struct Row {
    kind: SourceKind,
    port: PhonePort,
    /// Whether the app reports a lost face.
    tells_lost: bool,
    /// Whether the format has a gaze in addition to the shapes.
    has_gaze: bool,
    make: fn(Wire) -> Box<dyn Phone>,
}

const ROWS: [Row; 9] = [
    Row {
        kind: SourceKind::LiveLinkFace,
        port: PhonePort::LiveLinkFace,
        tells_lost: true,
        has_gaze: true,
        make: |wire| Box::new(LiveLinkFace(wire, 0)),
    },
    Row {
        kind: SourceKind::IFacialMocap,
        port: PhonePort::IFacialMocap,
        tells_lost: true,
        has_gaze: true,
        make: |wire| Box::new(Text { wire, separator: '-', camel_case: false }),
    },
    Row {
        kind: SourceKind::IFacialMocap,
        port: PhonePort::IFacialMocap,
        tells_lost: true,
        has_gaze: true,
        make: |wire| Box::new(Text { wire, separator: '&', camel_case: false }),
    },
    Row {
        kind: SourceKind::IFacialMocapV3,
        port: PhonePort::IFacialMocap,
        tells_lost: true,
        has_gaze: true,
        make: |wire| Box::new(Fmv3 { wire, sequence: 0, agreed: false }),
    },
    Row {
        kind: SourceKind::Facemotion3d,
        port: PhonePort::Facemotion3d,
        tells_lost: false,
        has_gaze: true,
        make: |wire| Box::new(Text { wire, separator: '&', camel_case: true }),
    },
    Row {
        kind: SourceKind::FaceCap,
        port: PhonePort::FaceCap,
        tells_lost: false,
        has_gaze: true,
        make: |wire| Box::new(FaceCap(wire)),
    },
    Row {
        kind: SourceKind::Vmc,
        port: PhonePort::Vmc,
        tells_lost: true,
        has_gaze: true,
        make: |wire| Box::new(Vmc(wire)),
    },
    Row {
        kind: SourceKind::VTubeStudio,
        port: PhonePort::VTubeStudio,
        tells_lost: true,
        has_gaze: true,
        make: |wire| Box::new(VTubeStudio(wire, 0)),
    },
    Row {
        kind: SourceKind::UdpJson,
        port: PhonePort::UdpJson,
        tells_lost: true,
        has_gaze: false,
        make: |wire| Box::new(Json(wire)),
    },
];

struct Stage {
    app: App,
    avatar: Entity,
}

impl Stage {
    fn new() -> Self {
        let mut app = app();
        let scene = app.world().resource::<AssetServer>().load("avatars/aria.glb#Scene0");
        let avatar = app.world_mut().spawn((WorldAssetRoot(scene), FaceAvatar::of("absent"))).id();
        update_until(&mut app, "bound avatar", |app| app.world().get::<BindReport>(avatar).is_some());
        // Angles are to be seen as they were sent.
        let mut settings = app.world_mut().get_mut::<FaceAvatar>(avatar).expect("an avatar");
        (settings.head_limit, settings.eye_limit) = (3.0, 3.0);
        // Packets come here by themselves, and each is to be seen as it is, not as a motion from the one before.
        app.world_mut().resource_mut::<FaceSettings>().playout = FacePlayout::latest();
        Self { app, avatar }
    }

    fn endpoint(&self) -> &FaceLinkEndpoint {
        self.app.world().resource::<FaceLinkEndpoint>()
    }

    fn open(&self, row: &Row) -> Box<dyn Phone> {
        (row.make)(Wire::new(self.endpoint().phone_port(row.port).expect("listens")))
    }

    fn until(&mut self, what: &str, phone: &mut dyn Phone, pose: Option<Pose>, mut done: impl FnMut(&mut App) -> bool) {
        update_until(&mut self.app, what, |app| {
            phone.send(pose);
            done(app)
        });
    }

    /// Has the avatar show the subject of this source.
    fn cast(&mut self, row: &Row, phone: &mut dyn Phone) -> Entity {
        let kind = row.kind;
        let stats = |app: &App| app.world().resource::<FaceLinkEndpoint>().stats();
        // A phone of the row before may still be there, and one that begins now would be taken for the same one, started
        // again.
        update_until(&mut self.app, &format!("end of the last {kind}"), |app| {
            stats(app).subjects.iter().all(|subject| subject.source != kind)
        });
        let mut name = None;
        self.until(&format!("subject of {kind}"), phone, Some(Pose::default()), |app| {
            let stats = stats(app);
            let new = stats.subjects.iter().find(|subject| subject.source == kind);
            name = new.map(|subject| subject.name.to_string());
            name.is_some()
        });
        let name = name.expect("a subject");
        let mut avatar = self.app.world_mut().get_mut::<FaceAvatar>(self.avatar).expect("an avatar");
        avatar.subject = Some(name.clone());
        self.until(&format!("entity of {kind}"), phone, Some(Pose::default()), |app| {
            app.world().resource::<FaceSubjects>().get(&name).is_some()
        });
        self.app.world().resource::<FaceSubjects>().get(&name).expect("it is there")
    }
}

/// The weight of a named target.
fn target(app: &mut App, name: &str) -> f32 {
    let mut nodes = app.world_mut().query::<&MorphWeights>();
    let found = nodes.iter(app.world()).find_map(|morph| {
        let mesh = app.world().resource::<Assets<Mesh>>().get(morph.first_mesh()?)?;
        let place = mesh.try_morph_target_names().ok()??.iter().position(|other| other == name)?;
        morph.weights().get(place).copied()
    });
    found.expect("a target of this name")
}

/// How a bone is turned from its rest, in the axes of the model.
fn turned(app: &mut App, bone: &str) -> Quat {
    let mut query = app.world_mut().query::<(&Name, &GlobalTransform)>();
    let found = query.iter(app.world()).find(|(name, _)| name.as_str() == bone);
    found.map(|(_, transform)| transform.rotation()).expect("the bone")
}

/// Where a point of the head is on the screen of a camera in front of the face: x to the viewer's right, y up.
fn on_screen(head: Quat, point: Vec3) -> Vec2 {
    let camera = Transform::from_xyz(0.0, 0.0, 1.0).looking_at(Vec3::ZERO, Vec3::Y);
    (camera.rotation.inverse() * (head * point)).truncate()
}

#[test]
fn phone_apps_drive_face_head_and_gaze_of_avatar() {
    let mut stage = Stage::new();
    for row in &ROWS {
        let kind = row.kind;
        let mut phone = stage.open(row);
        let phone = phone.as_mut();
        let subject = stage.cast(row, phone);

        let ahead = Pose { look_left: 10.0, look_up: 5.0, ..Pose::default() };
        stage.until(&format!("face of {kind}"), phone, Some(ahead), |app| {
            SHAPES.iter().all(|(shape, weight)| near(target(app, shape.name()), *weight))
        });
        for shape in Blendshape::ALL {
            let shown = target(&mut stage.app, shape.name());
            assert!(near(shown, weight(shape)), "{kind}: {shape} is {shown}");
        }
        if row.has_gaze {
            let wanted = Vec2::new(10_f32.to_radians(), 5_f32.to_radians());
            stage.until(&format!("gaze of {kind}"), phone, Some(ahead), |app| {
                let pose =
                    app.world().get::<FacePose>(subject).unwrap_or_else(|| panic!("{kind} has lost its subject"));
                pose.gaze.iter().all(|gaze| gaze.distance(wanted) < 0.01)
            });
            let seen = Quat::from_rotation_y(wanted.x) * Quat::from_rotation_x(-wanted.y) * Vec3::Z;
            assert!(seen.x > 0.15 && seen.y > 0.08, "to the left and up: {seen}");
            stage.until(&format!("eyes of {kind}"), phone, Some(ahead), |app| {
                ["EyeLeft", "EyeRight"].iter().all(|eye| (turned(app, eye) * Vec3::Z).distance(seen) < 0.02)
            });
        }

        // A nod, a turn and a tilt, one after the other, as a viewer in front of the screen sees them.
        let (nose, left_ear) = (Vec3::Z * 0.1, Vec3::X * 0.1);
        for (what, pose, seen) in [
            ("nod", Pose { nod_down: 20.0, ..Pose::default() }, Quat::from_rotation_x(20_f32.to_radians())),
            ("turn", Pose { turn_left: 30.0, ..Pose::default() }, Quat::from_rotation_y(30_f32.to_radians())),
            ("tilt", Pose { tilt: 15.0, ..Pose::default() }, Quat::from_rotation_z(15_f32.to_radians())),
        ] {
            stage.until(&format!("{what} of {kind}"), phone, Some(pose), |app| {
                turned(app, "Head").angle_between(seen) < 0.02
            });
            let head = turned(&mut stage.app, "Head");
            let (nose, ear) = (on_screen(head, nose), on_screen(head, left_ear));
            match what {
                "nod" => assert!(nose.y < -0.03 && nose.x.abs() < 0.005, "{kind}: the nose goes down: {nose}"),
                "turn" => assert!(nose.x > 0.04 && nose.y.abs() < 0.005, "{kind}: to the viewer's right: {nose}"),
                _ => assert!(ear.y > 0.02 && ear.x > 0.09, "{kind}: the ear on the viewer's right goes up: {ear}"),
            }
        }

        if row.tells_lost {
            stage.until(&format!("lost face of {kind}"), phone, None, |app| {
                !app.world().get::<FacePose>(subject).expect("a pose").tracked
            });
            stage.until(&format!("face of {kind} back"), phone, Some(Pose::default()), |app| {
                app.world().get::<FacePose>(subject).expect("a pose").tracked && near(target(app, "jawOpen"), 0.6)
            });
        } else {
            update_until(&mut stage.app, "silence", |app| {
                !app.world().get::<FacePose>(subject).is_some_and(|pose| pose.tracked)
            });
        }
    }
    let refused = stage.endpoint().stats().refused;
    assert_eq!(refused, 0, "nothing that an app sends is refused");
}

#[test]
fn profile_and_calibration_apply_to_live_face() {
    let mut stage = Stage::new();
    let row = &ROWS[0];
    let mut phone = stage.open(row);
    let phone = phone.as_mut();
    let subject = stage.cast(row, phone);
    let pose = Pose { turn_left: 30.0, ..Pose::default() };
    let turned_to = |angle: f32| {
        move |app: &mut App| turned(app, "Head").angle_between(Quat::from_rotation_y(angle.to_radians())) < 0.02
    };
    stage.until("turned head", phone, Some(pose), turned_to(30.0));

    let mut profile = stage.endpoint().profile(SourceKind::LiveLinkFace);
    profile.mirror = true;
    stage.endpoint().set_profile(SourceKind::LiveLinkFace, profile);
    stage.until("mirrored head", phone, Some(pose), turned_to(-30.0));
    stage.until("mirrored lids", phone, Some(pose), |app| {
        near(target(app, "eyeBlinkRight"), 0.25) && near(target(app, "eyeBlinkLeft"), 0.0)
    });
    profile.mirror = false;
    stage.endpoint().set_profile(SourceKind::LiveLinkFace, profile);
    stage.until("head as before", phone, Some(pose), turned_to(30.0));

    let entity = subject;
    stage.app.world_mut().trigger(RecentreHead { entity });
    stage.until("recentred head", phone, Some(pose), turned_to(0.0));
    let further = Pose { turn_left: 45.0, ..Pose::default() };
    stage.until("head turned from its new rest", phone, Some(further), turned_to(15.0));
    stage.app.world_mut().trigger(CaptureNeutral { entity });
    stage.until("neutral face", phone, Some(further), |app| {
        Blendshape::ALL.into_iter().all(|shape| near(target(app, shape.name()), 0.0))
    });
    stage.app.world_mut().trigger(ClearCalibration { entity });
    stage.until("face and head as sent", phone, Some(further), |app| {
        turned_to(45.0)(app) && near(target(app, "jawOpen"), 0.6)
    });
}

/// Plays a recording that is not part of the repository, where `FACELINK_CAPTURES` names the folder that holds it.
#[test]
fn recorded_datagrams_move_the_avatar() {
    let Some(captures) = std::env::var_os("FACELINK_CAPTURES") else {
        eprintln!("skipped: FACELINK_CAPTURES names no folder of recordings");
        return;
    };
    let packed = std::fs::read(Path::new(&captures).join("live-link-face-udp.gesichter")).expect("a recording");
    let mut tape = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed.as_slice()), &mut tape).expect("gzip");
    let number = |at: usize| u32::from_be_bytes(tape[at..at + 4].try_into().unwrap()) as usize;
    let (mut at, mut packets) = (5, Vec::new());
    for _ in 0..number(1) {
        packets.push(tape[at + 4..at + 4 + number(at)].to_vec());
        at += 4 + number(at);
    }
    let mut stage = Stage::new();
    let wire = Wire::new(stage.endpoint().phone_port(PhonePort::LiveLinkFace).expect("listens"));
    wire.send(&packets[0]);
    update_until(&mut stage.app, "subject", |app| {
        app.world().resource::<FaceLinkEndpoint>().stats().subjects.len() == 1
    });
    let name = stage.endpoint().stats().subjects[0].name.to_string();
    stage.app.world_mut().get_mut::<FaceAvatar>(stage.avatar).expect("an avatar").subject = Some(name);
    for (index, packet) in packets.iter().enumerate().step_by(45) {
        // The curves are the last 244 bytes.
        let curve = |place: usize| {
            let at = packet.len() - 244 + 4 * place;
            f32::from_be_bytes(packet[at..at + 4].try_into().unwrap())
        };
        // Sent once only: the same number again would be no news.
        wire.send(packet);
        for (place, name) in [(0, "eyeBlinkLeft"), (17, "jawOpen"), (23, "mouthSmileLeft"), (22, "mouthLeft")] {
            update_until(&mut stage.app, &format!("{name} of packet {index}"), |app| {
                (target(app, name) - curve(place)).abs() < 5e-3
            });
        }
    }
}
