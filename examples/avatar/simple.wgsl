// Light from above and below and three lamps, without shadows, clusters, environment maps and tables.

#import bevy_pbr::{forward_io::VertexOutput, mesh_view_bindings::view}

struct Light {
    above: vec4<f32>,
    around: vec4<f32>,
    below: vec4<f32>,
    lamps: array<vec4<f32>, 3>,
    lamp_colors: array<vec4<f32>, 3>,
}

struct Look {
    color: vec4<f32>,
    emissive: vec4<f32>,
    // Roughness, metalness, and the alpha below which nothing is drawn.
    surface: vec4<f32>,
    light: Light,
}

@group(#{MATERIAL_BIND_GROUP}) @binding(0) var<uniform> look: Look;
@group(#{MATERIAL_BIND_GROUP}) @binding(1) var base_texture: texture_2d<f32>;
@group(#{MATERIAL_BIND_GROUP}) @binding(2) var base_sampler: sampler;

fn sky(up: f32) -> vec3<f32> {
    return mix(look.light.around.rgb, select(look.light.below.rgb, look.light.above.rgb, up > 0.0), abs(up));
}

fn lit(base: vec3<f32>, normal: vec3<f32>, to_eye: vec3<f32>) -> vec3<f32> {
    let rough = look.surface.x;
    let metal = look.surface.y;
    let matte = base * (1.0 - metal);
    let shine = mix(vec3(0.04), base, metal);
    let away = 1.0 - max(dot(normal, to_eye), 0.0);
    let edge = away * away;
    let mirrored = shine + 0.6 * edge * edge * (1.0 - rough);
    var color = look.emissive.rgb + matte * sky(normal.y) + mirrored * sky(reflect(-to_eye, normal).y);
    for (var i = 0; i < 3; i++) {
        let to_lamp = look.light.lamps[i].xyz;
        // A lamp behind the model lights only its edges: without shadows it would shine through the head into the mouth.
        let share = max(dot(normal, to_lamp), 0.0) * mix(1.0, edge, look.light.lamps[i].w);
        let half_way = normalize(to_lamp + to_eye);
        let n = max(dot(normal, half_way), 0.0);
        let l = dot(to_lamp, half_way);
        let square = rough * rough;
        let d = n * n * (square - 1.0) + 1.0;
        let glint = square / (4.0 * d * d * max(l * l, 0.1) * (rough + 0.5));
        color += share * look.light.lamp_colors[i].rgb * (matte + shine * glint);
    }
    return color;
}

@fragment
fn fragment(in: VertexOutput, @builtin(front_facing) front: bool) -> @location(0) vec4<f32> {
    var base = look.color;
#ifdef VERTEX_COLORS
    base *= in.color;
#endif
#ifdef BASE_TEXTURE
#ifdef VERTEX_UVS_A
    base *= textureSample(base_texture, base_sampler, in.uv);
#endif
#endif
#ifdef MASK
    if base.a < look.surface.z {
        discard;
    }
#endif
    var color = base.rgb;
#ifndef UNLIT
    var normal = normalize(in.world_normal);
#ifdef DOUBLE_SIDED
    normal = select(-normal, normal, front);
#endif
    color = lit(base.rgb, normal, normalize(view.world_position - in.world_position.xyz));
#endif
    // Brightness is compressed, and bright colors turn towards white.
    let each = color / (1.0 + color);
    color = mix(color / (1.0 + dot(color, vec3(0.2126, 0.7152, 0.0722))), each, each);
    return vec4(color, base.a);
}
