//! How close two texts are to a model that have nothing to do with each other.
//!
//! Cosines of one model say nothing beside another's: unrelated texts are at 0.05 with one and at 0.7 with the next. So a model is first
//! given sentences about different things, and what it makes of pairs of them is its zero.

use std::time::Duration;

use super::{EmbedError, Embedder, Side};

/// Sentences about different things, as claims are written: a model puts each pair of them as near as it puts what is unrelated.
const UNRELATED: [&str; 24] = [
    "The build fails on ARM because the linker cannot find libssl.",
    "Sourdough needs a warm place and at least twelve hours to rise.",
    "The defendant was released on bail pending the appeal.",
    "Mitochondria produce most of the chemical energy of a cell.",
    "Rotate the API credentials before the end of the quarter.",
    "Heavy rain flooded the valley and closed two mountain roads.",
    "The violin concerto was first performed in Vienna.",
    "Use an index on the timestamp column to avoid a full table scan.",
    "Goalkeepers may handle the ball only inside their penalty area.",
    "Wheat prices rose after the poor harvest in the south.",
    "The patient was given antibiotics for a chest infection.",
    "Glaciers carve wide valleys as they move downhill.",
    "The museum is closed on Mondays and public holidays.",
    "Lift at the leading edge of a wing depends on the angle of attack.",
    "She inherited the farm from her grandfather.",
    "Restart the print spooler when a job is stuck in the queue.",
    "The treaty fixed the border along the river.",
    "Octopuses can squeeze through very small openings.",
    "Our refund policy covers thirty days from delivery.",
    "A prime number has exactly two divisors.",
    "The train to the coast leaves from platform nine.",
    "Prune roses in late winter before the buds open.",
    "The board approved the merger of both insurers.",
    "Stars of that class burn their hydrogen within a few million years.",
];

/// The cosines of unrelated texts under one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Null {
    /// Their mean.
    pub mean: f32,
    /// Their standard deviation.
    pub deviation: f32,
    /// Dimensions of the model's vectors.
    pub dimensions: usize,
}

impl Null {
    /// Asks a model, for at most `batch` vectors at once.
    ///
    /// # Errors
    /// [`EmbedError`].
    pub fn measure(embedder: &dyn Embedder, batch: usize, timeout: Duration) -> Result<Self, EmbedError> {
        let embed = |side| -> Result<Vec<Vec<f32>>, EmbedError> {
            let parts = UNRELATED.chunks(batch.max(1)).map(|texts| embedder.embed(side, texts, timeout));
            Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
        };
        let (documents, queries) = (embed(Side::Document)?, embed(Side::Query)?);
        let mut cosines = Vec::with_capacity(UNRELATED.len() * UNRELATED.len());
        for (i, query) in queries.iter().enumerate() {
            let others = documents.iter().enumerate().filter(|(j, _)| *j != i);
            cosines.extend(others.map(|(_, document)| cosine(query, document)));
        }
        let count = cosines.len().max(1) as f32;
        let mean = cosines.iter().sum::<f32>() / count;
        let variance = cosines.iter().map(|cosine| (cosine - mean) * (cosine - mean)).sum::<f32>() / count;
        // Where all are equally close, the model tells nothing apart; then nothing is far from the mean either.
        let dimensions = documents.first().map_or(0, Vec::len);
        Ok(Self { mean, deviation: variance.sqrt().max(f32::EPSILON), dimensions })
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}
