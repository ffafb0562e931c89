//! A mapping of one's own: change the file while it runs, and look at the face.
//!
//! ```text
//! cargo run --example custom_mapping                                 Rivet, by assets/mappings/examples/shy_robot.face.ron
//! cargo run --example custom_mapping -- my.glb my.face.ron           your model and your mapping, below assets/
//! cargo run --example custom_mapping -- my.glb                       your model by the dialect that is found
//! ```
//!
//! The panel's Mapping card tunes every shape and saves a file.

#[path = "avatar/guard.rs"]
mod guard;
#[allow(dead_code, reason = "not every example needs all of it")]
#[path = "avatar/performer.rs"]
mod performer;
#[path = "avatar/screen.rs"]
mod screen;
#[path = "avatar/screenshot.rs"]
mod screenshot;
#[path = "avatar/show.rs"]
mod show;
#[path = "avatar/stage.rs"]
mod stage;

use std::process::ExitCode;

use bevy::prelude::*;
use bevy_facelink::{AvatarBound, FaceLinkEndpoint, panel::FaceLinkPanel, prelude::*};
use clap::Parser;

/// A mapping of one's own.
#[derive(Parser, Debug)]
#[command(name = "custom_mapping")]
struct Args {
    /// Model, below `assets/`.
    model: Option<String>,
    /// Mapping, below `assets/`.
    mapping: Option<String>,
    #[command(flatten)]
    show: show::Show,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (model, mapping) = match (args.model, args.mapping) {
        (None, _) => ("avatars/rivet.glb".to_owned(), Some("mappings/examples/shy_robot.face.ron".to_owned())),
        (Some(model), mapping) => (model, mapping),
    };
    let role = stage::Role { model, avatar: FaceAvatar::of(performer::NAME), ..default() };
    let mut app = match args.show.open("FaceLink: a mapping of one's own", vec![role], true) {
        Ok(app) => app,
        Err(code) => return code,
    };
    if let Some(mut panel) = app.world_mut().get_resource_mut::<FaceLinkPanel>() {
        panel.tuning = true;
    }
    // The performer streams until the window closes.
    let stream = app.world().get_resource::<FaceLinkEndpoint>().and_then(|at| performer::PerformerStream::start(at, 1));
    if let Some(stream) = stream {
        app.insert_resource(stream);
    }
    app.add_systems(
        Update,
        move |mut commands: Commands, assets: Res<AssetServer>, avatars: Query<Entity, Added<FaceAvatar>>| {
            for avatar in &avatars {
                if let Some(mapping) = &mapping {
                    commands.entity(avatar).insert(AvatarMapping(assets.load(mapping.clone())));
                }
            }
        },
    )
    .add_observer(|bound: On<AvatarBound>| {
        let report = &bound.report;
        println!("{}", report.summary());
        for (what, names) in [("unused targets", &report.unused), ("not on this rig", &report.absent)] {
            if !names.is_empty() {
                println!("  {what}: {}", names.join(", "));
            }
        }
        if let Some(problem) = &report.problem {
            println!("  the mapping is not used: {problem}");
        }
    });
    show::run(app)
}
