//! A small writer of binary glTF 2.0: nodes, materials, skinned and morphed meshes, sparse morph targets, levels of detail
//! (`MSFT_lod`).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::vec3::Vec3;

/// Metres per modelling unit.
pub const UNIT: f64 = 0.001;
/// Position deltas shorter than this (metres) are noise.
const SMALLEST_MOVE: f32 = 8e-6;
/// Normal deltas shorter than this cannot be seen.
const SMALLEST_TURN: f32 = 0.015;

const FLOAT: u32 = 5126;
const UNSIGNED_BYTE: u32 = 5121;
const UNSIGNED_SHORT: u32 = 5123;
const UNSIGNED_INT: u32 = 5125;
const VERTEX_BUFFER: u32 = 34962;
const INDEX_BUFFER: u32 = 34963;

/// A morph target: full-length deltas.
#[derive(Clone)]
pub struct Target {
    /// Its name in `mesh.extras.targetNames`.
    pub name: &'static str,
    /// Moves in modelling units.
    pub positions: Vec<Vec3>,
    /// Changes of the normals.
    pub normals: Vec<Vec3>,
}

/// One mesh with a single primitive.
pub struct Mesh {
    /// Name of the mesh and of its node.
    pub name: &'static str,
    /// Index of its material.
    pub material: usize,
    /// Positions in modelling units.
    pub positions: Vec<Vec3>,
    /// Unit normals.
    pub normals: Vec<Vec3>,
    /// Linear vertex colours.
    pub colours: Vec<[f32; 4]>,
    /// Triangle corners.
    pub indices: Vec<u32>,
    /// Joint weights (four each), for a skinned mesh.
    pub weights: Option<Vec<[f32; 4]>>,
    /// Morph targets, in order.
    pub targets: Vec<Target>,
}

impl Mesh {
    /// Radius of the sphere around its box, in modelling units.
    pub fn radius(&self) -> f64 {
        let points: Vec<[f32; 3]> = self.positions.iter().map(|v| to_floats(*v)).collect();
        let (low, high) = bounds(&points);
        low.iter().zip(high).map(|(low, high)| f64::from(high - low).powi(2)).sum::<f64>().sqrt() / 2.0
    }
}

/// A mesh of the first vertices of another.
pub struct Coarser {
    /// Name of the mesh and of its node.
    pub name: &'static str,
    /// How many vertices it takes.
    pub vertices: usize,
    /// Triangle corners.
    pub indices: Vec<u32>,
}

/// A material without textures.
pub struct Material {
    /// Its name.
    pub name: &'static str,
    /// Base colour, multiplied with the vertex colour.
    pub colour: [f32; 3],
    /// Perceptual roughness.
    pub roughness: f32,
    /// Light given off.
    pub emissive: [f32; 3],
    /// Whether back faces show.
    pub double_sided: bool,
}

/// Collects the parts of a file.
#[derive(Default)]
pub struct Writer {
    bin: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
    meshes: Vec<Value>,
    nodes: Vec<Value>,
    materials: Vec<Value>,
    skins: Vec<Value>,
    extensions: BTreeSet<&'static str>,
}

fn to_metres(v: Vec3) -> [f32; 3] {
    // Adding zero turns -0.0 into 0.0.
    [(v.x * UNIT) as f32 + 0.0, (v.y * UNIT) as f32 + 0.0, (v.z * UNIT) as f32 + 0.0]
}

fn to_floats(v: Vec3) -> [f32; 3] {
    [v.x as f32 + 0.0, v.y as f32 + 0.0, v.z as f32 + 0.0]
}

fn length(v: [f32; 3]) -> f32 {
    (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt()
}

fn bounds(values: &[[f32; 3]]) -> (Vec<f32>, Vec<f32>) {
    let mut low = vec![f32::INFINITY; 3];
    let mut high = vec![f32::NEG_INFINITY; 3];
    for value in values {
        for k in 0..3 {
            low[k] = low[k].min(value[k]);
            high[k] = high[k].max(value[k]);
        }
    }
    (low, high)
}

/// The deltas of a target as they are written, and which of them are not zero.
struct Deltas {
    positions: Vec<[f32; 3]>,
    normals: Vec<[f32; 3]>,
    moved: Vec<usize>,
}

impl Deltas {
    fn of(target: &Target) -> Self {
        let mut positions: Vec<[f32; 3]> = target.positions.iter().map(|v| to_metres(*v)).collect();
        let mut normals: Vec<[f32; 3]> = target.normals.iter().map(|v| to_floats(*v)).collect();
        for p in &mut positions {
            if length(*p) < SMALLEST_MOVE {
                *p = [0.0; 3];
            }
        }
        for n in &mut normals {
            if length(*n) < SMALLEST_TURN {
                *n = [0.0; 3];
            }
        }
        let moved = (0..positions.len()).filter(|&i| positions[i] != [0.0; 3] || normals[i] != [0.0; 3]).collect();
        Self { positions, normals, moved }
    }
}

impl Writer {
    fn view(&mut self, bytes: &[u8], target: Option<u32>) -> usize {
        while !self.bin.len().is_multiple_of(4) {
            self.bin.push(0);
        }
        let mut view = json!({ "buffer": 0, "byteOffset": self.bin.len(), "byteLength": bytes.len() });
        if let Some(target) = target {
            view["target"] = json!(target);
        }
        self.bin.extend_from_slice(bytes);
        self.views.push(view);
        self.views.len() - 1
    }

    fn accessor(&mut self, accessor: Value) -> usize {
        self.accessors.push(accessor);
        self.accessors.len() - 1
    }

    fn vectors(&mut self, values: &[[f32; 3]], with_bounds: bool) -> usize {
        let bytes: Vec<u8> = values.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
        let view = self.view(&bytes, Some(VERTEX_BUFFER));
        let mut accessor = json!({ "bufferView": view, "componentType": FLOAT, "count": values.len(), "type": "VEC3" });
        if with_bounds {
            let (low, high) = bounds(values);
            accessor["min"] = json!(low);
            accessor["max"] = json!(high);
        }
        self.accessor(accessor)
    }

    /// Writes the deltas of one target, sparse where that is smaller, and never empty.
    fn target(&mut self, target: &Target) -> Value {
        let Deltas { positions, normals, mut moved } = Deltas::of(target);
        if moved.is_empty() {
            moved.push(0);
        }
        let short = positions.len() <= usize::from(u16::MAX);
        let index_size = if short { 2 } else { 4 };
        if moved.len() * (24 + index_size) >= positions.len() * 24 {
            return json!({ "POSITION": self.vectors(&positions, true), "NORMAL": self.vectors(&normals, false) });
        }
        let index_bytes: Vec<u8> = moved
            .iter()
            .flat_map(|&i| if short { (i as u16).to_le_bytes().to_vec() } else { (i as u32).to_le_bytes().to_vec() })
            .collect();
        let index_view = self.view(&index_bytes, None);
        let (low, high) = bounds(&positions);
        let mut sparse = |values: &[[f32; 3]], limits: Option<(Vec<f32>, Vec<f32>)>| {
            let bytes: Vec<u8> = moved.iter().flat_map(|&i| values[i]).flat_map(f32::to_le_bytes).collect();
            let view = self.view(&bytes, None);
            let mut accessor = json!({
                "componentType": FLOAT, "count": values.len(), "type": "VEC3",
                "sparse": {
                    "count": moved.len(),
                    "indices": {
                        "bufferView": index_view,
                        "componentType": if short { UNSIGNED_SHORT } else { UNSIGNED_INT },
                    },
                    "values": { "bufferView": view },
                },
            });
            if let Some((low, high)) = limits {
                accessor["min"] = json!(low);
                accessor["max"] = json!(high);
            }
            self.accessor(accessor)
        };
        let position = sparse(&positions, Some((low, high)));
        let normal = sparse(&normals, None);
        json!({ "POSITION": position, "NORMAL": normal })
    }

    /// Adds a material that is no metal.
    pub fn material(&mut self, m: &Material) {
        self.metal(m, 0.0);
    }

    /// Adds a material of some metalness (0 to 1).
    pub fn metal(&mut self, m: &Material, metallic: f32) {
        let mut value = json!({
            "name": m.name,
            "pbrMetallicRoughness": {
                "baseColorFactor": [m.colour[0], m.colour[1], m.colour[2], 1.0],
                "metallicFactor": metallic,
                "roughnessFactor": m.roughness,
            },
            "doubleSided": m.double_sided,
        });
        if m.emissive != [0.0; 3] {
            value["emissiveFactor"] = json!(m.emissive);
        }
        self.materials.push(value);
    }

    /// Adds a joint or group at `at` (modelling units, relative to its parent) and returns its index.
    pub fn node(&mut self, name: &str, at: Vec3) -> usize {
        let mut node = json!({ "name": name });
        if at != Vec3::ZERO {
            node["translation"] = json!(to_metres(at));
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Hangs nodes below a node.
    pub fn children(&mut self, parent: usize, children: &[usize]) {
        self.nodes[parent]["children"] = json!(children);
    }

    /// Adds the skin over `joints`, whose places in the model are `rest` (modelling units, rotations all identity).
    pub fn skin(&mut self, root: usize, joints: &[usize], rest: &[Vec3]) {
        let mut bytes = Vec::new();
        for place in rest {
            let t = to_metres(-*place);
            let matrix: [f32; 16] = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, t[0], t[1], t[2], 1.0];
            bytes.extend(matrix.iter().flat_map(|v| v.to_le_bytes()));
        }
        let view = self.view(&bytes, None);
        let accessor =
            self.accessor(json!({ "bufferView": view, "componentType": FLOAT, "count": rest.len(), "type": "MAT4" }));
        self.skins.push(json!({ "inverseBindMatrices": accessor, "joints": joints, "skeleton": root }));
    }

    /// Adds a mesh and a node that shows it; skinned meshes use the first skin.
    pub fn mesh(&mut self, mesh: &Mesh) -> usize {
        let positions: Vec<[f32; 3]> = mesh.positions.iter().map(|v| to_metres(*v)).collect();
        let normals: Vec<[f32; 3]> = mesh.normals.iter().map(|v| to_floats(*v)).collect();
        let mut attributes = json!({
            "POSITION": self.vectors(&positions, true),
            "NORMAL": self.vectors(&normals, false),
        });
        let colour_bytes: Vec<u8> = mesh
            .colours
            .iter()
            .flatten()
            .flat_map(|c| ((c.clamp(0.0, 1.0) * 65535.0).round() as u16).to_le_bytes())
            .collect();
        let view = self.view(&colour_bytes, Some(VERTEX_BUFFER));
        attributes["COLOR_0"] = json!(self.accessor(json!({
            "bufferView": view, "componentType": UNSIGNED_SHORT, "normalized": true,
            "count": mesh.colours.len(), "type": "VEC4",
        })));
        if let Some(weights) = &mesh.weights {
            // Joints without weight are named 0, as validators ask.
            let joints: Vec<u8> =
                weights.iter().flat_map(|w| [0, u8::from(w[1] > 0.0), if w[2] > 0.0 { 2 } else { 0 }, 0]).collect();
            let view = self.view(&joints, Some(VERTEX_BUFFER));
            attributes["JOINTS_0"] = json!(self.accessor(json!({
                "bufferView": view, "componentType": UNSIGNED_BYTE, "count": weights.len(), "type": "VEC4",
            })));
            let bytes: Vec<u8> = weights.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
            let view = self.view(&bytes, Some(VERTEX_BUFFER));
            attributes["WEIGHTS_0"] = json!(self.accessor(json!({
                "bufferView": view, "componentType": FLOAT, "count": weights.len(), "type": "VEC4",
            })));
        }
        let indices = self.indices(&mesh.indices, mesh.positions.len());
        let mut primitive = json!({ "attributes": attributes, "indices": indices, "material": mesh.material });
        let mut value = json!({ "name": mesh.name });
        if !mesh.targets.is_empty() {
            let targets: Vec<Value> = mesh.targets.iter().map(|t| self.target(t)).collect();
            primitive["targets"] = json!(targets);
            value["weights"] = json!(vec![0.0; mesh.targets.len()]);
            value["extras"] = json!({ "targetNames": mesh.targets.iter().map(|t| t.name).collect::<Vec<_>>() });
        }
        value["primitives"] = json!([primitive]);
        self.add_mesh(value, mesh.weights.is_some())
    }

    fn indices(&mut self, corners: &[u32], vertices: usize) -> usize {
        let short = vertices <= usize::from(u16::MAX);
        let bytes: Vec<u8> = corners
            .iter()
            .flat_map(|&i| if short { (i as u16).to_le_bytes().to_vec() } else { i.to_le_bytes().to_vec() })
            .collect();
        let view = self.view(&bytes, Some(INDEX_BUFFER));
        self.accessor(json!({
            "bufferView": view, "componentType": if short { UNSIGNED_SHORT } else { UNSIGNED_INT },
            "count": corners.len(), "type": "SCALAR",
        }))
    }

    /// Adds a mesh with the node that shows it.
    fn add_mesh(&mut self, mesh: Value, skinned: bool) -> usize {
        let mut node = json!({ "name": mesh["name"], "mesh": self.meshes.len() });
        if skinned {
            node["skin"] = json!(0);
        }
        self.meshes.push(mesh);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Adds a mesh of the first vertices of one that was added, with the same targets, and a node that shows it. It reads the same
    /// bytes; only its corners are new.
    pub fn coarser(&mut self, node: usize, of: &Mesh, coarse: &Coarser) -> usize {
        let mut mesh = self.meshes[self.nodes[node]["mesh"].as_u64().map_or(0, |mesh| mesh as usize)].clone();
        mesh["name"] = json!(coarse.name);
        let count = coarse.vertices;
        let mut primitive = mesh["primitives"][0].take();
        let positions: Vec<[f32; 3]> = of.positions[..count].iter().map(|v| to_metres(*v)).collect();
        for (name, accessor) in primitive["attributes"].as_object_mut().into_iter().flatten() {
            *accessor = self.beginning(accessor, count, (name == "POSITION").then_some(&positions[..]), None);
        }
        for (value, target) in primitive["targets"].as_array_mut().into_iter().flatten().zip(&of.targets) {
            let Deltas { positions, mut moved, .. } = Deltas::of(target);
            moved.retain(|i| *i < count);
            if moved.is_empty() {
                let (positions, normals) = (target.positions[..count].to_vec(), target.normals[..count].to_vec());
                *value = self.target(&Target { name: target.name, positions, normals });
                continue;
            }
            value["POSITION"] = self.beginning(&value["POSITION"], count, Some(&positions[..count]), Some(moved.len()));
            value["NORMAL"] = self.beginning(&value["NORMAL"], count, None, Some(moved.len()));
        }
        primitive["indices"] = json!(self.indices(&coarse.indices, count));
        mesh["primitives"] = json!([primitive]);
        self.add_mesh(mesh, of.weights.is_some())
    }

    /// An accessor of the first `count` elements of another; `sparse` of those are written where it is a sparse one.
    fn beginning(&mut self, of: &Value, count: usize, bounded: Option<&[[f32; 3]]>, sparse: Option<usize>) -> Value {
        let mut accessor = self.accessors[of.as_u64().map_or(0, |of| of as usize)].clone();
        accessor["count"] = json!(count);
        if let Some(values) = bounded {
            let (low, high) = bounds(values);
            accessor["min"] = json!(low);
            accessor["max"] = json!(high);
        }
        if let (Some(sparse), Some(part)) = (sparse, accessor.get_mut("sparse")) {
            part["count"] = json!(sparse);
        }
        json!(self.accessor(accessor))
    }

    /// Makes `lower` the lower level of detail of the node `of`, shown where the sphere around the mesh is smaller than
    /// `coverage`, as a share of the viewport's height. It belongs to no scene, so that other programs show level 0.
    pub fn lower(&mut self, of: usize, lower: usize, coverage: f64) {
        let node = &mut self.nodes[of];
        node["extensions"] = json!({ "MSFT_lod": { "ids": [lower] } });
        // Never too small to be shown.
        node["extras"] = json!({ "MSFT_screencoverage": [coverage, 0.0] });
        self.extensions.insert("MSFT_lod");
    }

    /// The finished file, with `root` as the only root of the scene `Aria`.
    pub fn finish(self, root: usize) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        self.finish_as("Aria", root)
    }

    /// The finished file, with `root` as the only root of the scene called `name`.
    pub fn finish_as(mut self, name: &str, root: usize) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        const HEADER: usize = 12;
        const CHUNK_HEADER: usize = 8;
        while !self.bin.len().is_multiple_of(4) {
            self.bin.push(0);
        }
        let mut document = json!({
            "asset": { "version": "2.0", "generator": "facelink-aria" },
            "scene": 0,
            "scenes": [{ "name": name, "nodes": [root] }],
            "nodes": self.nodes,
            "meshes": self.meshes,
            "materials": self.materials,
            "skins": self.skins,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{ "byteLength": self.bin.len() }],
        });
        if !self.extensions.is_empty() {
            document["extensionsUsed"] = json!(self.extensions);
        }
        let mut text = serde_json::to_vec(&document)?;
        while !text.len().is_multiple_of(4) {
            text.push(b' ');
        }
        let total = HEADER + 2 * CHUNK_HEADER + text.len() + self.bin.len();
        let mut out = Vec::with_capacity(total);
        out.extend_from_slice(b"glTF");
        out.extend_from_slice(&2_u32.to_le_bytes());
        out.extend_from_slice(&u32::try_from(total)?.to_le_bytes());
        out.extend_from_slice(&u32::try_from(text.len())?.to_le_bytes());
        out.extend_from_slice(b"JSON");
        out.extend_from_slice(&text);
        out.extend_from_slice(&u32::try_from(self.bin.len())?.to_le_bytes());
        out.extend_from_slice(b"BIN\0");
        out.extend_from_slice(&self.bin);
        Ok(out)
    }
}
