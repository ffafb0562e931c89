//! A material that a processor draws many times as fast as Bevy's: `simple.wgsl`. It stands in for that on the stage's models.

use std::{collections::HashMap, f32::consts::PI};

use bevy::{
    asset::uuid_handle,
    mesh::MeshVertexBufferLayoutRef,
    pbr::{MaterialPipeline, MaterialPipelineKey},
    prelude::*,
    render::render_resource::{AsBindGroup, Face, RenderPipelineDescriptor, ShaderType, SpecializedMeshPipelineError},
    shader::ShaderRef,
};

use super::{EXPOSURE, LAMPS, STUDIO, STUDIO_INTENSITY};

const SHADER: Handle<Shader> = uuid_handle!("6d1f7f1e-0f6b-4f0c-9d55-3a1a5b8c2f10");

/// The light of the stage, exposed.
#[derive(ShaderType, Clone, Copy, Debug)]
struct Light {
    above: Vec4,
    around: Vec4,
    below: Vec4,
    /// Directions to them; w: 1 where they light only edges.
    lamps: [Vec4; 3],
    lamp_colors: [Vec4; 3],
}

impl Light {
    fn of_the_stage() -> Self {
        let exposure = EXPOSURE.exposure();
        let [above, around, below] = STUDIO.map(|color| Vec3::from(color).extend(1.0) * STUDIO_INTENSITY * exposure);
        Self {
            above,
            around,
            below,
            lamps: LAMPS.map(|lamp| lamp.at.normalize().extend(if lamp.at.z < 0.0 { 1.0 } else { 0.0 })),
            lamp_colors: LAMPS.map(|lamp| lamp.color.to_linear().to_vec4() * lamp.illuminance * exposure / PI),
        }
    }
}

/// What the shader knows of a surface, and of the light.
#[derive(ShaderType, Clone, Copy, Debug)]
struct Look {
    color: Vec4,
    emissive: Vec4,
    /// Roughness, metalness, and the alpha below which nothing is drawn.
    surface: Vec4,
    light: Light,
}

/// Colour, roughness and metalness of a [`StandardMaterial`], in a light without shadows.
#[derive(Asset, TypePath, AsBindGroup, Clone, Debug)]
#[bind_group_data(SimpleKey)]
pub struct SimpleMaterial {
    #[uniform(0)]
    look: Look,
    #[texture(1)]
    #[sampler(2)]
    texture: Option<Handle<Image>>,
    alpha_mode: AlphaMode,
    key: SimpleKey,
}

/// What their pipelines differ by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SimpleKey {
    texture: bool,
    mask: bool,
    unlit: bool,
    double_sided: bool,
    cull: Option<Face>,
}

impl From<&SimpleMaterial> for SimpleKey {
    fn from(material: &SimpleMaterial) -> Self {
        material.key
    }
}

impl From<&StandardMaterial> for SimpleMaterial {
    fn from(material: &StandardMaterial) -> Self {
        let cutoff = if let AlphaMode::Mask(cutoff) = material.alpha_mode { Some(cutoff) } else { None };
        let rough = material.perceptual_roughness.max(0.089).powi(2);
        Self {
            look: Look {
                color: material.base_color.to_linear().to_vec4(),
                emissive: material.emissive.to_vec4()
                    * 1.0_f32.lerp(EXPOSURE.exposure(), material.emissive_exposure_weight),
                surface: Vec4::new(rough, material.metallic, cutoff.unwrap_or(0.0), 0.0),
                light: Light::of_the_stage(),
            },
            texture: material.base_color_texture.clone(),
            alpha_mode: material.alpha_mode,
            key: SimpleKey {
                texture: material.base_color_texture.is_some(),
                mask: cutoff.is_some(),
                unlit: material.unlit,
                double_sided: material.double_sided,
                cull: material.cull_mode,
            },
        }
    }
}

impl Material for SimpleMaterial {
    fn fragment_shader() -> ShaderRef {
        SHADER.into()
    }

    fn alpha_mode(&self) -> AlphaMode {
        self.alpha_mode
    }

    fn enable_prepass() -> bool {
        false
    }

    fn enable_shadows() -> bool {
        false
    }

    fn specialize(
        _pipeline: &MaterialPipeline,
        descriptor: &mut RenderPipelineDescriptor,
        _layout: &MeshVertexBufferLayoutRef,
        key: MaterialPipelineKey<Self>,
    ) -> Result<(), SpecializedMeshPipelineError> {
        let key = key.bind_group_data;
        descriptor.primitive.cull_mode = key.cull;
        if let Some(fragment) = &mut descriptor.fragment {
            let defs = [
                (key.texture, "BASE_TEXTURE"),
                (key.mask, "MASK"),
                (key.unlit, "UNLIT"),
                (key.double_sided, "DOUBLE_SIDED"),
            ];
            fragment.shader_defs.extend(defs.into_iter().filter(|(on, _)| *on).map(|(_, name)| name.into()));
        }
        Ok(())
    }
}

#[cfg(not(bevy_0_20))]
fn shader() -> Shader {
    Shader::from_wgsl(include_str!("simple.wgsl"), "avatar/simple.wgsl")
}

/// In WESL, the language of shaders since Bevy 0.20, which spells conditions and imports differently.
#[cfg(bevy_0_20)]
fn shader() -> Shader {
    let translated = include_str!("simple.wgsl").lines().map(|line| match line.split_once(' ') {
        Some(("#import", path)) => format!("import {};\n", path.replacen("bevy_pbr::", "bevy_pbr::render::", 1)),
        Some(("#ifdef", name)) => format!("@if({name}) {{\n"),
        Some(("#ifndef", name)) => format!("@if(!{name}) {{\n"),
        _ if line == "#endif" => "}\n".to_owned(),
        _ => line.replace("#{MATERIAL_BIND_GROUP}", "constants::MATERIAL_BIND_GROUP") + "\n",
    });
    Shader::from_wesl(translated.collect::<String>(), "avatar/simple.wesl")
}

/// While this resource exists, simple materials stand in for Bevy's.
#[derive(Resource)]
pub struct Simple;

/// The material, and what puts it in the place of Bevy's as models come.
pub struct SimplePlugin;

impl Plugin for SimplePlugin {
    fn build(&self, app: &mut App) {
        if let Err(error) = app.world_mut().resource_mut::<Assets<Shader>>().insert(&SHADER, shader()) {
            error!("{error}");
        }
        app.add_plugins(MaterialPlugin::<SimpleMaterial>::default())
            .add_systems(PostUpdate, simplify.run_if(resource_exists::<Simple>));
    }
}

fn simplify(
    mut commands: Commands,
    standard: Res<Assets<StandardMaterial>>,
    mut simple: ResMut<Assets<SimpleMaterial>>,
    mut known: Local<HashMap<AssetId<StandardMaterial>, Handle<SimpleMaterial>>>,
    meshes: Query<(Entity, &MeshMaterial3d<StandardMaterial>)>,
) {
    for (entity, material) in &meshes {
        let Some(standard) = standard.get(&material.0) else { continue };
        let stand_in = known.entry(material.0.id()).or_insert_with(|| simple.add(SimpleMaterial::from(standard)));
        commands.entity(entity).remove::<MeshMaterial3d<StandardMaterial>>().insert(MeshMaterial3d(stand_in.clone()));
    }
}
