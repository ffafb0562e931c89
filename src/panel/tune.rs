//! The mapping of an avatar: what matched, each shape by itself, and its gain, offset and limits, live and saved.

use std::path::Path;

use bevy::{ecs::system::SystemParam, prelude::*};
use bevy_egui::egui;
use facelink::{
    Blendshape,
    mapping::{AUTO, Format, Mapping, Tuning},
};

use super::{
    moods::moods,
    theme::{ACCENT, BAD, DIM, GOOD, RAIL, TEXT, WARN, small, title},
};
use crate::{
    avatar::ShapePreview,
    files::{self, FileWatch},
    layers::{FaceExpressionLibrary, FaceExpressions},
    mapping::{AvatarMapping, FaceMapping},
    pose::FacePose,
    report::BindReport,
};

/// What the card needs in addition to the avatar.
#[derive(SystemParam)]
pub(super) struct Tuner<'w, 's> {
    mappings: Option<ResMut<'w, Assets<FaceMapping>>>,
    server: Option<Res<'w, AssetServer>>,
    files: Option<Res<'w, FileWatch>>,
    own: Query<'w, 's, (Option<&'static AvatarMapping>, Option<&'static ShapePreview>)>,
    worn: Query<'w, 's, &'static mut FaceExpressions>,
    library: Res<'w, FaceExpressionLibrary>,
    kept: Local<'s, Kept>,
}

/// What the card remembers.
#[derive(Default)]
pub(super) struct Kept {
    avatar: Option<Entity>,
    filter: String,
    file: String,
    said: Option<(String, egui::Color32)>,
}

/// The card of one avatar.
pub(super) fn tune(
    ui: &mut egui::Ui,
    commands: &mut Commands,
    tuner: &mut Tuner,
    avatar: Entity,
    label: &str,
    report: &BindReport,
    pose: Option<&FacePose>,
    unfolded: bool,
) {
    if tuner.kept.avatar != Some(avatar) {
        *tuner.kept =
            Kept { avatar: Some(avatar), file: format!("mappings/{}.face.ron", slug(label)), ..Kept::default() };
    }
    let (own, preview) = tuner.own.get(avatar).unwrap_or((None, None));
    let own = own.cloned();
    let preview = preview.copied();
    ui.horizontal(|ui| {
        title(ui, "Mapping");
        let dialect = if report.dialect.is_empty() { "names of its own" } else { &report.dialect };
        ui.label(small(dialect, TEXT));
        let all = report.missing.is_empty();
        ui.label(small(
            format!("{} of {}", report.matched.len(), Blendshape::ALL.len()),
            if all { GOOD } else { WARN },
        ));
    });
    if let Some(problem) = &report.problem {
        ui.label(small(problem, BAD));
    }
    let Some(mappings) = tuner.mappings.as_mut() else { return };
    let before: Mapping = match own.as_ref().and_then(|own| mappings.get(&own.0)) {
        Some(own) => own.mapping.clone(),
        None => Mapping::including([AUTO]),
    };
    let mut mapping = before.clone();
    let kept = &mut *tuner.kept;
    let header = egui::CollapsingHeader::new(small("tune the shapes", TEXT)).id_salt("facelink_tune");
    header.default_open(unfolded).show(ui, |ui| {
        ui.horizontal(|ui| {
            ui.checkbox(&mut mapping.mirror, "mirror").on_hover_text("Left and right, as in a looking-glass");
            ui.label(small("find", DIM));
            ui.add(egui::TextEdit::singleline(&mut kept.filter).desired_width(90.0));
            if ui.small_button("reset").on_hover_text("Every shape as the mapping has it").clicked() {
                mapping.channels.clear();
            }
        });
        egui::Grid::new("facelink_tune_grid").num_columns(5).spacing([5.0, 2.0]).show(ui, |ui| {
            for text in ["shape", "now", "gain", "offset", "max"] {
                ui.label(small(text, DIM));
            }
            ui.end_row();
            let wanted = kept.filter.to_lowercase();
            for shape in Blendshape::ALL {
                let name = shape.name();
                if !name.to_lowercase().contains(&wanted) {
                    continue;
                }
                let matched = report.matched.iter().any(|matched| matched == name);
                let held = preview.is_some_and(|preview| preview.shape == shape.index());
                let color = if matched { TEXT } else { DIM };
                let words = if matched { "Click: this shape alone, at full" } else { "Nothing on this rig shows it" };
                if ui.selectable_label(held, small(name, color)).on_hover_text(words).clicked() {
                    if held {
                        commands.entity(avatar).try_remove::<ShapePreview>();
                    } else {
                        commands.entity(avatar).try_insert(ShapePreview { shape: shape.index(), weight: 1.0 });
                    }
                }
                bar(ui, pose.map_or(0.0, |pose| pose.weight(shape)));
                row(ui, &mut mapping, name);
                ui.end_row();
            }
        });
    });
    if mapping != before {
        match &own {
            Some(own) => {
                if let Some(mut asset) = mappings.get_mut(&own.0) {
                    asset.mapping = mapping.clone();
                }
            }
            None => {
                let handle = mappings.add(FaceMapping::from(mapping.clone()));
                commands.entity(avatar).try_insert(AvatarMapping(handle));
            }
        }
        kept.said = Some(("changed, not saved".to_owned(), WARN));
    }
    moods(ui, commands, avatar, &tuner.library, tuner.worn.get_mut(avatar).ok());
    if own.is_some() || mapping != before {
        ui.horizontal(|ui| {
            ui.label(small("save as", DIM));
            ui.add(egui::TextEdit::singleline(&mut kept.file).desired_width(170.0));
            if ui.small_button("save").clicked() {
                let saved = save(&mapping, report, label, &kept.file, tuner.files.as_deref().map(FileWatch::root));
                kept.said = Some(match saved {
                    Ok(text) => {
                        // From the file from now on, so that an editor can go on with it.
                        if let Some(server) = &tuner.server {
                            commands.entity(avatar).try_insert(AvatarMapping(server.load(kept.file.clone())));
                        }
                        (text, GOOD)
                    }
                    Err(text) => (text, BAD),
                });
            }
        });
        if let Some((text, color)) = &kept.said {
            ui.label(small(text, *color));
        }
    }
}

fn row(ui: &mut egui::Ui, mapping: &mut Mapping, name: &str) {
    let before = mapping.channels.get(name).cloned().unwrap_or_default();
    let mut tuning = before.clone();
    ui.add(egui::DragValue::new(&mut tuning.gain).speed(0.01).range(-4.0..=4.0).max_decimals(2));
    ui.add(egui::DragValue::new(&mut tuning.offset).speed(0.005).range(-1.0..=1.0).max_decimals(2));
    let mut max = tuning.max.unwrap_or(2.0);
    if ui.add(egui::DragValue::new(&mut max).speed(0.01).range(0.0..=2.0).max_decimals(2)).changed() {
        tuning.max = (max < 2.0).then_some(max);
    }
    if tuning != before {
        if tuning == Tuning::default() {
            mapping.channels.remove(name);
        } else {
            mapping.channels.insert(name.to_owned(), tuning);
        }
    }
}

fn bar(ui: &mut egui::Ui, value: f32) {
    let (rect, _) = ui.allocate_exact_size(egui::vec2(44.0, 6.0), egui::Sense::hover());
    ui.painter().rect_filled(rect, 3.0, RAIL);
    let mut filled = rect;
    filled.set_width(rect.width() * value.clamp(0.0, 1.0));
    ui.painter().rect_filled(filled, 3.0, ACCENT);
}

fn save(
    mapping: &Mapping,
    report: &BindReport,
    label: &str,
    file: &str,
    folder: Option<&Path>,
) -> Result<String, String> {
    if !(file.ends_with(".face.ron") || file.ends_with(".face.json")) {
        return Err("a mapping's name ends in .face.ron or .face.json".to_owned());
    }
    let folder = folder.ok_or("there is no folder of assets")?;
    let mut mapping = mapping.clone();
    if mapping.name.is_empty() {
        mapping.name = label.to_owned();
    }
    // The file names the dialect that it extends, rather than that it was detected.
    for include in &mut mapping.include {
        if include == AUTO && !report.preset.is_empty() {
            include.clone_from(&report.preset);
        }
    }
    let path = folder.join(file);
    files::write(&path, &mapping.write(Format::of_path(file))).map_err(|error| error.to_string())?;
    Ok(format!("saved to {}", path.display()))
}

/// A label as the name of a file.
fn slug(label: &str) -> String {
    let name = label.rsplit('/').next().unwrap_or(label);
    let name = name.split(['.', '#']).next().unwrap_or(name);
    let slug: String =
        name.chars().map(|c| if c.is_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '_' }).collect();
    if slug.is_empty() { "avatar".to_owned() } else { slug }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_mapping_round_trips_and_extends_its_dialect() {
        let folder = tempfile::tempdir().unwrap();
        let mut mapping = Mapping::including([AUTO]);
        mapping.channels.insert("jawOpen".to_owned(), Tuning::gain(1.5));
        let report = BindReport { preset: "arkit".to_owned(), ..default() };
        save(&mapping, &report, "Aria", "mappings/aria.face.ron", Some(folder.path())).unwrap();
        let text = std::fs::read_to_string(folder.path().join("mappings/aria.face.ron")).unwrap();
        let read: Mapping = text.parse().unwrap();
        assert_eq!((read.name.as_str(), read.include), ("Aria", vec!["arkit".to_owned()]));
        assert_eq!(read.channels["jawOpen"].gain, 1.5);
        assert!(save(&mapping, &report, "Aria", "aria.txt", Some(folder.path())).is_err());
        assert_eq!(slug("avatars/aria.glb#Scene0"), "aria");
    }
}
