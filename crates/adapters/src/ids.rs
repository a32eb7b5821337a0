//! New ids: numbers out of blocks that the store gave, and random bits of the operating system. Must not
//! know how a store counts.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use custodia_domain::OrganizationId;
use custodia_domain::ports::{Counter, CustomerStore, IdSource, StoreError};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use tokio::sync::Mutex;

/// How many numbers are taken from the store at once at the least, unless said otherwise.
pub const DEFAULT_BLOCK: u32 = 32;

/// The most numbers that are taken from the store at once for single requests.
const LARGEST_BLOCK: u32 = 4_096;
/// A block that is used up sooner was too small, and the next one is twice as large.
const SOON: Duration = Duration::from_secs(1);

type Blocks = HashMap<(OrganizationId, Counter), Arc<Mutex<Block>>>;

/// Numbers of one counter that nobody has yet.
struct Block {
    left: Range<i64>,
    /// How many were taken the last time.
    size: u32,
    taken: Instant,
}

impl Block {
    /// How many numbers to take now, so that a busy counter is seldom asked and an idle one wastes few.
    fn next_size(&self, smallest: u32) -> u32 {
        let size = if self.taken.elapsed() < SOON { self.size.saturating_mul(2) } else { self.size / 2 };
        size.clamp(smallest, LARGEST_BLOCK.max(smallest))
    }
}

/// Gives numbers out of blocks reserved in the store, so that most requests need no round trip for theirs.
/// Numbers lost in a crash leave gaps; [`BlockIds::close`] gives the unused ones back.
pub struct BlockIds {
    store: Arc<dyn CustomerStore>,
    block: u32,
    blocks: Mutex<Blocks>,
}

impl BlockIds {
    /// Takes [`DEFAULT_BLOCK`] numbers at once.
    #[must_use]
    pub fn new(store: Arc<dyn CustomerStore>) -> Self {
        Self::with_block(store, DEFAULT_BLOCK)
    }

    /// Takes so many numbers at once, at least one; more where they are used up within a second.
    #[must_use]
    pub fn with_block(store: Arc<dyn CustomerStore>, block: u32) -> Self {
        Self { store, block: block.max(1), blocks: Mutex::default() }
    }

    /// Gives the unused numbers of every organization back, as far as no other process has taken numbers since. To
    /// be called at the end of a graceful shutdown; a later request reserves anew.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer; what is not given back is a harmless gap.
    pub async fn close(&self) -> Result<(), StoreError> {
        let blocks = std::mem::take(&mut *self.blocks.lock().await);
        for ((organization, counter), block) in blocks {
            let mut block = block.lock().await;
            if !block.left.is_empty() {
                let unused = std::mem::replace(&mut block.left, 0..0);
                self.store.release(organization, counter, unused.start, unused.end).await?;
            }
        }
        Ok(())
    }

    async fn block_of(&self, organization: OrganizationId, counter: Counter) -> Arc<Mutex<Block>> {
        let mut blocks = self.blocks.lock().await;
        let block = blocks.entry((organization, counter)).or_insert_with(|| {
            let none = Block { left: 0..0, size: self.block / 2, taken: Instant::now() };
            Arc::new(Mutex::new(none))
        });
        Arc::clone(block)
    }
}

impl fmt::Debug for BlockIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockIds").field("block", &self.block).finish_non_exhaustive()
    }
}

#[async_trait]
impl IdSource for BlockIds {
    async fn numbers(
        &self,
        organization: OrganizationId,
        counter: Counter,
        count: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let block = self.block_of(organization, counter).await;
        // Held over the reservation: whoever comes meanwhile finds the new block instead of taking another.
        let mut block = block.lock().await;
        let left = usize::try_from(block.left.end - block.left.start).unwrap_or(usize::MAX);
        let mut numbers: Vec<i64> = Vec::with_capacity(count);
        if left < count {
            let missing = u32::try_from(count - left).map_err(|_| StoreError::Fault("too many ids at once".into()))?;
            let size = block.next_size(self.block);
            let taken = missing.max(size);
            let Some(first) = self.store.reserve(organization, counter, taken).await? else {
                return Ok(Vec::new());
            };
            numbers.extend(block.left.clone());
            *block = Block { left: first..first + i64::from(taken), size, taken: Instant::now() };
        }
        let wanted = count - numbers.len();
        numbers.extend(block.left.by_ref().take(wanted));
        Ok(numbers)
    }

    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        OsRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
        u128::from_ne_bytes(bytes)
    }
}
