//! How databases are set up, and the memory that all of them share.

use std::thread::available_parallelism;

use rocksdb::{
    BlockBasedOptions, Cache, DBCompactionStyle, DBCompressionType, Env, LogLevel, LruCacheOptions, Options,
    WriteBufferManager,
};

use crate::error::{Error, Result};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// One block cache, one manager of write buffers and one pool of threads for all databases of the process.
pub(super) struct Resources {
    cache: Cache,
    write_buffers: WriteBufferManager,
    env: Env,
    /// How much all write buffers may take together.
    pub write_buffer_limit: usize,
}

impl Resources {
    pub(super) fn new(memory_budget: usize) -> Result<Self> {
        // The rest is for what RocksDB does not count: compactions, what the allocator keeps between what is in use, and
        // the values that are in memory for the agents. With ten million keys the process took 145 MiB beside these 160, a
        // third of it fetched records.
        let counted = memory_budget / 8 * 5;
        let mut cache = LruCacheOptions::default();
        cache.set_capacity(counted);
        // Each part of the cache has its share of the capacity. By default they are as small as half a mebibyte, which two
        // entries for write buffers fill.
        let parts = (counted / (16 * MIB)).max(1).ilog2().min(6);
        cache.set_num_shard_bits(parts.cast_signed());
        let cache = Cache::new_lru_cache_opts(&cache);
        let write_buffer_limit = counted / 4;
        // The cache is charged for the buffers, so that the budget covers both. Writers are not stalled at the limit: a
        // thread that stands still for another one's flush would hold up its tasks. All wait only where they write faster
        // than the disk takes it (`resident::make_room`).
        let write_buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(write_buffer_limit, false, cache.clone());
        let mut env = Env::new()
            .map_err(|error| Error::state("RocksDB cannot find its environment").with_source(error))?;
        let cores = available_parallelism().map_or(1, |cores| i32::try_from(cores.get()).unwrap_or(i32::MAX));
        // Flushes before compactions, and neither with all cores: the agents need theirs.
        env.set_high_priority_background_threads((cores / 2).clamp(1, 4));
        env.set_background_threads((cores / 2).clamp(1, 8));
        Ok(Self {
            cache,
            write_buffers,
            env,
            write_buffer_limit,
        })
    }

    /// What all write buffers take at present.
    pub(super) fn write_buffer_usage(&self) -> usize {
        self.write_buffers.get_usage()
    }

    /// What the cache takes at present, write buffers included.
    #[cfg(test)]
    pub(super) fn usage(&self) -> usize {
        self.cache.get_usage()
    }

    /// The options of a database.
    pub(super) fn database(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_env(&self.env);
        options.set_write_buffer_manager(&self.write_buffers);
        // Without a write-ahead log only this keeps the families in step: offsets and values of one cut reach the disk
        // together.
        options.set_atomic_flush(true);
        // All databases of the process share one limit of open files.
        options.set_max_open_files(128);
        options.set_max_background_jobs(4);
        options.set_max_manifest_file_size(4 * MIB);
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(MIB);
        options.set_keep_log_file_num(2);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        // Large writes reach the disk bit by bit rather than in one stall.
        options.set_bytes_per_sync(MIB as u64);
        options
    }

    /// The options of a family: what a table is kept in.
    pub(super) fn family(&self) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        // Inside the budget, and the last to leave the cache.
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        // Most reads are of one key, and unpack a whole block for it: with 8 KiB and ten million keys a record cost a quarter
        // more.
        table.set_block_size(4 * KIB);
        // Most look-ups of a table that counts are for keys that are not there yet.
        table.set_bloom_filter(10.0, false);
        table.set_optimize_filters_for_memory(true);
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_compaction_style(DBCompactionStyle::Level);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_write_buffer_size((self.write_buffer_limit / 4).clamp(256 * KIB, 32 * MIB));
        // One that is written, one that waits, and one that is on its way to the disk.
        options.set_max_write_buffer_number(4);
        // Much less than the default of a mebibyte: a worker may have hundreds of tables, and an idle one should take
        // next to nothing.
        options.set_arena_block_size(64 * KIB);
        options.set_level_zero_file_num_compaction_trigger(4);
        options.set_level_zero_slowdown_writes_trigger(20);
        options.set_level_zero_stop_writes_trigger(36);
        options.set_target_file_size_base(32 * MIB as u64);
        options.set_max_bytes_for_level_base(128 * MIB as u64);
        options
    }
}

impl std::fmt::Debug for Resources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Resources({} bytes in use, {} of them write buffers)",
            self.cache.get_usage(),
            self.write_buffers.get_usage()
        )
    }
}
