//! Bounds of retrieval: queries, the index and its files, and embedders.

/// One term of the index, UTF-8 bytes. Longer words and identifiers are known by their first bytes.
pub const TERM_BYTES: usize = 128;
/// Distinct terms of one query that are looked up. Past it the most common words of the query are left out.
pub const QUERY_TERMS: usize = 256;
/// How often one term of a query counts. More is the same word pasted again.
pub const QUERY_TERM_COUNT: u32 = 16;
/// Distinct character 4-grams of one query that are looked up: those of some eighty words. Past it the most common are left out.
pub const QUERY_GRAMS: usize = 512;
/// Words of one query that the index does not know and that it looks for similar ones of. Each costs a look at all words that share a
/// 4-gram with it.
pub const QUERY_UNKNOWN_WORDS: usize = 32;
/// Words of the index that stand in for one word of a query that it does not know.
pub const QUERY_SIMILAR_WORDS: usize = 8;
/// Tokens of one text that make its vector: the first sixteen kilobytes or so. So many times 127 times 4,095 fit in 31 bits.
pub const LATENT_TOKENS: usize = 4_096;
/// Documents that each view of an index gives to the common ranking. With 1,000 the quality is the same within .002, and a search costs
/// half as much again.
pub const VIEW_DEPTH: usize = 400;
/// Documents that one index numbers: some eleven gigabytes on the disk.
pub const INDEX_DOCUMENTS: usize = 1 << 24;
/// Documents of one segment of an index: several of them are searched at a time, and a merge is done within seconds.
pub const SEGMENT_DOCUMENTS: usize = 1 << 17;
/// Bytes of one segment: its parts are addressed by 32 bits.
pub const SEGMENT_BYTES: usize = 1 << 29;
/// Documents that an index keeps in memory before it makes a file of them. After a crash so many are analysed again.
pub const INDEX_FLUSH_DOCUMENTS: usize = 2_048;
/// Bytes of the same: claims of the greatest length fill it sooner.
pub const INDEX_FLUSH_BYTES: usize = 16 * 1024 * 1024;
/// Blocks that are stored before an index notes how far it has read, whatever they have.
pub const INDEX_FLUSH_BLOCKS: u64 = 2_048;
/// Blocks that an index reads at its first question. What is more is read in the background, but for the last half as many.
pub const INDEX_REPLAY_BLOCKS: u64 = 4_096;
/// Blocks that may wait to be read by whoever asks. When there are more, the background reads along.
pub const INDEX_FOLLOW_BLOCKS: u64 = 256;
/// Text that an index reads from the log at a time, bytes: bounds memory where many large claims come.
pub const INDEX_READ_BYTES: usize = 8 * 1024 * 1024;
/// Blocks that the background reads for one file.
pub const INDEX_FILL_BLOCKS: u64 = 16_384;
/// Blocks of those that one thread reads.
pub const INDEX_FILL_PART_BLOCKS: usize = 2_048;
/// The manifest of an index, bytes: it names some hundred segments, and claims whose words have not come.
pub const INDEX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;
/// Pause of the background between two looks at what is new, milliseconds.
pub const INDEX_PAUSE_MS: u64 = 50;
/// Pause before files of an index that could not be written are tried again, milliseconds.
pub const INDEX_RETRY_MS: u64 = 60_000;
/// Documents that are put together at once where one is added: some milliseconds. More of them wait for the background.
pub const MERGE_AT_ONCE_DOCUMENTS: usize = 1_024;
/// The least token budget of a context: room for its heading and one sentence.
pub const CONTEXT_BUDGET_TOKENS: usize = 128;

/// Texts in one request to an embedder, where the settings name no other number. llama.cpp and LM Studio take as many by default.
pub const EMBED_BATCH: u32 = 32;
/// The most that they may name.
pub const EMBED_BATCH_MOST: u32 = 256;
/// How long a request of the background should take, milliseconds: a query may have to wait behind it. Batches shrink and grow to it.
pub const EMBED_BATCH_MS: u64 = 250;
/// One text that is sent, UTF-8 bytes; the rest is cut off. Most models read 512 to 8,192 tokens of it.
pub const EMBED_TEXT_BYTES: usize = 8 * 1024;
/// A text that an embedder refuses is sent again by half, down to so many bytes. Then it has no vector.
pub const EMBED_TEXT_LEAST_BYTES: usize = 256;
/// Dimensions of a vector. The largest models have as many.
pub const EMBED_DIMENSIONS: usize = 4_096;
/// Answer of an endpoint, bytes: the largest batch, each number written out in full.
pub const EMBED_ANSWER_BYTES: u64 = 32 * 1024 * 1024;
/// What an endpoint says of an error, characters that are shown.
pub const EMBED_MESSAGE_CHARS: usize = 200;
/// How long a request of the background may take, milliseconds: an endpoint may load its model first.
pub const EMBED_TIMEOUT_MS: u64 = 120_000;
/// How long a query waits for its vector, milliseconds, where the settings say nothing else. Then the built-in views answer alone.
pub const EMBED_QUERY_MS: u64 = 500;
/// Pause after a first failure of an embedder, milliseconds. It doubles with each further one; until it is over, queries do not ask either.
pub const EMBED_RETRY_MS: u64 = 500;
/// The longest such pause, milliseconds; of what only its operator can mend, every one.
pub const EMBED_RETRY_MOST_MS: u64 = 30_000;
/// Claims of one group that wait for their words to be embedded. Past it they are found at the next start.
pub const EMBED_WORDLESS: usize = 65_536;
/// Models whose vectors a group keeps: the one in use, and the one before it, to which one may go back.
pub const EMBED_MODELS: usize = 2;
/// The address of an endpoint, bytes.
pub const EMBED_URL_BYTES: usize = 2_048;
/// The name of a model, bytes.
pub const EMBED_MODEL_BYTES: usize = 256;
/// What stands before each text, bytes.
pub const EMBED_PREFIX_BYTES: usize = 1_024;
/// The key of an endpoint, bytes.
pub const EMBED_KEY_BYTES: u64 = 4_096;
/// A file of a model that is loaded, bytes: the largest static tables have half of it.
pub const EMBED_FILE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
