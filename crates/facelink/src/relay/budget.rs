//! What fits a viewer's path: which layer of each face it is sent.

use std::time::Duration;

use super::layers::Layer;

/// Bytes of a packet besides its payload on a data channel: IP, UDP, DTLS, SCTP and its chunk.
const HEADERS: f32 = 93.0;
/// Time between two packets of a viewer whose path is full, and the longest of any in the mean: what comes in between shares them.
pub(super) const FULL_SPACING: Duration = Duration::from_micros(16_600);

/// A face, as far as the choice of its layer depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The highest layer that the viewer asked for.
    pub most: Layer,
    /// Higher ones go first. Above 0: it speaks, or the viewer put it first.
    pub score: f32,
    /// Frames a second of the source.
    pub fps: f32,
    pub size: f32,
}

impl Wanted {
    fn rate(&self, layer: Layer) -> f32 {
        layer.fps().min(self.fps)
    }
}

/// Bytes a second of packets at most `spacing` apart.
fn cost(faces: &[(Wanted, Layer)], spacing: Duration) -> f32 {
    let rates = faces.iter().map(|(face, layer)| face.rate(*layer));
    let bytes: f32 = faces.iter().map(|(face, layer)| face.rate(*layer) * face.size).sum();
    let (all, most) = rates.fold((0.0_f32, 0.0_f32), |(all, most), rate| (all + rate, most.max(rate)));
    // Faces of lower layers travel with those of higher ones only now and then.
    let packets = all.min((1.0 / spacing.as_secs_f32().max(1e-6)).max(most));
    bytes + packets * HEADERS
}

/// Chooses the layers that fit a share, `0..=1`, of what all the faces would take in packets of their own. Faces with a
/// higher score go first; each has at least the lowest layer.
pub(super) fn choose(faces: &[Wanted], share: f32) -> Vec<Layer> {
    if share >= 1.0 {
        return faces.iter().map(|face| face.most).collect();
    }
    let full: Vec<_> = faces.iter().map(|face| (*face, face.most)).collect();
    let budget = cost(&full, Duration::ZERO) * share;
    let mut chosen: Vec<_> = faces.iter().map(|face| (*face, face.most.min(Layer::Sparse))).collect();
    let mut order: Vec<usize> = (0..faces.len()).collect();
    order.sort_by(|a, b| faces[*b].score.total_cmp(&faces[*a].score));
    let mut raise = |place: usize, layer: Layer| {
        let (face, before) = chosen[place];
        let layer = layer.min(face.most);
        if layer <= before {
            return;
        }
        chosen[place].1 = layer;
        if cost(&chosen, FULL_SPACING) > budget {
            chosen[place].1 = before;
        }
    };
    // Speech can be read at 15 a second: that for each, before more for any.
    for place in &order {
        raise(*place, Layer::Low);
    }
    for place in order.iter().filter(|place| faces[**place].score > 0.0) {
        for layer in [Layer::Middle, Layer::High, Layer::All] {
            raise(*place, layer);
        }
    }
    for layer in [Layer::Middle, Layer::High, Layer::All] {
        for place in &order {
            raise(*place, layer);
        }
    }
    chosen.into_iter().map(|(_, layer)| layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faces(count: usize, speaks: impl Fn(usize) -> bool) -> Vec<Wanted> {
        let score = |i| if speaks(i) { 1.0 } else { 0.0 };
        (0..count).map(|i| Wanted { most: Layer::All, score: score(i), fps: 60.0, size: 88.0 }).collect()
    }

    #[test]
    fn budget_share_of_one_face_is_its_rate() {
        for (share, layer) in [
            (1.0, Layer::All),
            (0.5, Layer::Middle),
            (1.0 / 3.0, Layer::Low),
            (0.25, Layer::Low),
            (1.0 / 6.0, Layer::Sparse),
        ] {
            assert_eq!(choose(&faces(1, |_| false), share), [layer], "{share}");
        }
    }

    #[test]
    fn budget_faces_that_speak_go_first() {
        // Half of 20 faces in packets of their own: in bundles nearly all of it fits.
        let half = choose(&faces(20, |i| i == 7), 0.5);
        assert_eq!(half[7], Layer::High.max(half[7]), "{half:?}");
        let full = |layers: &[Layer]| layers.iter().filter(|layer| **layer >= Layer::High).count();
        assert!(full(&half) >= 15, "{half:?}");
        let sixth = choose(&faces(20, |i| i == 7), 1.0 / 6.0);
        assert!(sixth[7] >= Layer::High, "{sixth:?}");
        assert!(sixth.iter().all(|layer| *layer >= Layer::Low), "{sixth:?}");
        assert!(full(&sixth) < 5, "{sixth:?}");
        // So little that not all have 15 a second: the one that speaks has.
        let little = choose(&faces(20, |i| i == 7), 0.1);
        assert_eq!(little[7], Layer::Low, "{little:?}");
        assert!(little.contains(&Layer::Sparse), "{little:?}");
    }

    #[test]
    fn budget_never_exceeds_what_was_asked() {
        let mut asked = faces(6, |i| i < 2);
        asked[0].most = Layer::Sparse;
        asked[1].most = Layer::Middle;
        for share in [1.0, 0.9, 0.5, 0.1, 0.0] {
            let chosen = choose(&asked, share);
            assert!(chosen.iter().zip(&asked).all(|(layer, face)| *layer <= face.most), "{share}: {chosen:?}");
        }
        assert!(choose(&[], 0.5).is_empty());
    }
}
