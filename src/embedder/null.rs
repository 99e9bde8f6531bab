//! How close two texts are to a model that have nothing to do with each other, and whether it tells them from two that have.
//!
//! Cosines of one model say nothing beside another's: unrelated texts are at 0.05 with one and at 0.7 with the next. So a model is first
//! given sentences about different things, and what it makes of pairs of them is its zero. Some of them it is given once more in other
//! words: **a model that does not find those again is refused**, since its vectors say nothing of what a text means. One that answers
//! these sentences well and others badly is not found out.

use std::time::Duration;

use super::{EmbedError, Embedder, Side};

/// Sentences about different things, as claims are written: a model puts each pair of them as near as it puts what is unrelated.
pub const UNRELATED: [&str; 24] = [
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

/// What some of those sentences say, by their numbers, in other words: a table of words knows them by those that they share.
pub const SAME: [(usize, &str); 12] = [
    (0, "Linker error on ARM: libssl is missing, so the build stops."),
    (1, "Let sourdough rise somewhere warm, best overnight."),
    (2, "Until the appeal is heard, the defendant is free on bail."),
    (3, "The energy of a cell comes mostly from its mitochondria."),
    (5, "After heavy rain the roads in the valley were closed."),
    (7, "A full scan of the table is slow without an index on its timestamp."),
    (8, "Outside the penalty area goalkeepers must not touch the ball with their hands."),
    (9, "A poor harvest made wheat more expensive."),
    (11, "Wide valleys were carved by glaciers long ago."),
    (15, "The print queue hangs: the spooler needs a restart."),
    (18, "You can have a refund within thirty days of delivery."),
    (22, "Both insurers merge: the board has approved it."),
];

/// How many of them must be closest to their own: by chance it is one in 24, and six or more happen once in some 200,000 times.
const SAME_FROM: usize = 6;

/// The least standard deviation of unrelated texts' cosines: below, all texts are alike to the model, and what its vectors lose where they
/// are stored as int8 is more than what they say.
const DEVIATION_FROM: f32 = 0.001;

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
    /// [`EmbedError`]; [`EmbedError::Alike`] or [`EmbedError::Blind`] where its vectors tell nothing apart.
    pub fn measure(embedder: &dyn Embedder, batch: usize, timeout: Duration) -> Result<Self, EmbedError> {
        let embed = |side, texts: &[&str]| -> Result<Vec<Vec<f32>>, EmbedError> {
            let parts = texts.chunks(batch.max(1)).map(|texts| embedder.embed(side, texts, timeout));
            Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
        };
        let (documents, queries) = (embed(Side::Document, &UNRELATED)?, embed(Side::Query, &UNRELATED)?);
        let mut cosines = Vec::with_capacity(UNRELATED.len() * UNRELATED.len());
        for (i, query) in queries.iter().enumerate() {
            let others = documents.iter().enumerate().filter(|(j, _)| *j != i);
            cosines.extend(others.map(|(_, document)| cosine(query, document)));
        }
        let count = cosines.len().max(1) as f32;
        let mean = cosines.iter().sum::<f32>() / count;
        let variance = cosines.iter().map(|cosine| (cosine - mean) * (cosine - mean)).sum::<f32>() / count;
        let (deviation, dimensions) = (variance.sqrt(), documents.first().map_or(0, Vec::len));
        if deviation.is_nan() || deviation < DEVIATION_FROM {
            return Err(EmbedError::Alike);
        }
        let found = embed(Side::Query, &SAME.map(|(_, text)| text))?;
        let is_closest = |(query, (own, _)): &(&Vec<f32>, &(usize, &str))| {
            let to = |document: &Vec<f32>| cosine(query, document);
            let others = documents.iter().enumerate().filter(|(at, _)| at != own).map(|(_, document)| to(document));
            documents.get(*own).is_some_and(|document| others.fold(f32::MIN, f32::max) < to(document))
        };
        let right = found.iter().zip(&SAME).filter(is_closest).count();
        if right < SAME_FROM {
            return Err(EmbedError::Blind { right, of: SAME.len() });
        }
        Ok(Self { mean, deviation, dimensions })
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { (dot(a, b) / lengths) as f32 } else { 0.0 }
}
