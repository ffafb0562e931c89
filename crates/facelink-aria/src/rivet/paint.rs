//! Rivet's colours, written as sRGB.

use crate::palette::{Colour, mix, opaque};
use crate::vec3::smoothstep;

use super::panel::{Spot, wear};

/// Cream enamel of the face.
pub const CREAM: Colour = [255.0, 250.0, 238.0];
/// Yellow enamel of the skull.
pub const YELLOW: Colour = [255.0, 184.0, 12.0];
/// Yellow in the shade.
pub const AMBER: Colour = [226.0, 128.0, 4.0];
/// Teal enamel.
pub const TEAL: Colour = [0.0, 130.0, 140.0];
/// Teal in the shade.
pub const DEEP_TEAL: Colour = [0.0, 70.0, 84.0];
/// The cheeks' coral.
pub const CORAL: Colour = [250.0, 112.0, 70.0];
/// Lids.
pub const LID: Colour = [255.0, 198.0, 50.0];
/// Lids in the shade.
pub const SHADE: Colour = [222.0, 136.0, 14.0];
/// Bare steel.
pub const STEEL: Colour = [188.0, 190.0, 192.0];
/// Steel in the shade.
pub const IRON: Colour = [92.0, 96.0, 102.0];
/// Seams and hollows.
pub const DARK: Colour = [34.0, 34.0, 40.0];
/// Bellows and other black rubber.
pub const RUBBER: Colour = [58.0, 58.0, 66.0];
/// The soft skin around the mouth.
pub const MUZZLE: Colour = [255.0, 240.0, 220.0];
/// Lips.
pub const LIP: Colour = [160.0, 56.0, 72.0];
/// The line between the lips.
pub const LIP_DEEP: Colour = [104.0, 28.0, 40.0];
/// Inside the mouth.
pub const MOUTH: Colour = [54.0, 16.0, 24.0];
/// Teeth plates.
pub const TOOTH: Colour = [250.0, 246.0, 236.0];
/// Tongue.
pub const TONGUE: Colour = [222.0, 104.0, 104.0];

/// Enamel with a darker seam and worn edges.
pub fn enamel(base: Colour, spot: &Spot) -> [f32; 4] {
    if spot.over > 1.5 {
        return opaque(DARK);
    }
    let near = smoothstep(7.0, 0.0, spot.inside) * 0.10;
    let mut c = mix(base, [base[0] * 0.55, base[1] * 0.5, base[2] * 0.45], near);
    let bare = mix(STEEL, base, 0.2);
    if spot.inside == 0.0 {
        let share = if spot.over > 0.0 { smoothstep(1.3, 0.4, spot.over) } else { 0.15 };
        c = mix(c, bare, share * wear(spot.p));
    }
    if spot.over > 0.0 {
        c = mix(c, DARK, 0.55 * smoothstep(0.5, 1.0, spot.over));
    }
    opaque(c)
}
