//! Code lengths (RFC 1951, section 3.2.2), as zlib chooses them: of nodes that are equally frequent, the shallower tree goes first;
//! codes that would be too long are shortened at the expense of the longest that are not.

/// The code lengths of an alphabet.
pub(super) struct Code {
    /// Bits of each symbol; 0 for those that have no code.
    pub(super) lengths: Vec<u8>,
    /// How many symbols there are up to the last one with a code.
    pub(super) used: usize,
}

/// The codes for symbols with these frequencies, none over `longest` bits. There are two codes at least, as zlib has it.
pub(super) fn code(frequencies: &[u32], longest: usize) -> Code {
    let symbols = frequencies.len();
    let mut tree = Tree { frequency: frequencies.to_vec(), depth: vec![0; symbols], heap: vec![0] };
    tree.heap.extend((0..symbols).filter(|symbol| frequencies[*symbol] > 0));
    let mut used = frequencies.iter().rposition(|frequency| *frequency > 0).map_or(0, |last| last + 1);
    while tree.heap.len() < 3 {
        let forced = if used < 3 { used } else { 0 };
        used = used.max(forced + 1);
        tree.heap.push(forced);
        tree.frequency[forced] = 1;
    }
    for place in (1..=(tree.heap.len() - 1) / 2).rev() {
        tree.sink(place);
    }
    // Nodes in the order in which they were taken: the rarest first, the root last.
    let mut taken = Vec::new();
    let mut parent = vec![0; symbols];
    while tree.heap.len() > 2 {
        let rarest = tree.pop();
        let next = tree.heap[1];
        taken.extend([rarest, next]);
        let node = tree.frequency.len();
        tree.frequency.push(tree.frequency[rarest] + tree.frequency[next]);
        tree.depth.push(tree.depth[rarest].max(tree.depth[next]) + 1);
        parent.push(0);
        (parent[rarest], parent[next]) = (node, node);
        tree.heap[1] = node;
        tree.sink(1);
    }
    Code { lengths: lengths(symbols, &taken, &parent, longest), used }
}

/// The length of each symbol's code, from the tree.
fn lengths(symbols: usize, taken: &[usize], parent: &[usize], longest: usize) -> Vec<u8> {
    let mut length = vec![0_usize; parent.len()];
    let mut count = vec![0_usize; longest + 1];
    let mut overflow = 0_usize;
    for node in taken.iter().rev() {
        let wanted = length[parent[*node]] + 1;
        overflow += usize::from(wanted > longest);
        length[*node] = wanted.min(longest);
        if *node < symbols {
            count[length[*node]] += 1;
        }
    }
    if overflow > 0 {
        while overflow > 0 {
            let shorter = (1..longest).rev().find(|bits| count[*bits] > 0).expect("where a code is too long there is a shorter one");
            count[shorter] -= 1;
            count[shorter + 1] += 2;
            count[longest] -= 1;
            overflow = overflow.saturating_sub(2);
        }
        // The rarest symbols get the longest codes.
        let mut leaves = taken.iter().filter(|node| **node < symbols);
        for bits in (1..=longest).rev() {
            for leaf in leaves.by_ref().take(count[bits]) {
                length[*leaf] = bits;
            }
        }
    }
    length[..symbols].iter().map(|bits| u8::try_from(*bits).expect("codes have at most 15 bits")).collect()
}

/// A heap of nodes, from place 1 on, the rarest at the top.
struct Tree {
    frequency: Vec<u32>,
    depth: Vec<u32>,
    heap: Vec<usize>,
}

impl Tree {
    fn goes_first(&self, a: usize, b: usize) -> bool {
        (self.frequency[a], self.depth[a]) <= (self.frequency[b], self.depth[b])
    }

    fn sink(&mut self, place: usize) {
        let node = self.heap[place];
        let mut place = place;
        loop {
            let mut child = place * 2;
            if child >= self.heap.len() {
                break;
            }
            if child + 1 < self.heap.len() && self.goes_first(self.heap[child + 1], self.heap[child]) {
                child += 1;
            }
            if self.goes_first(node, self.heap[child]) {
                break;
            }
            self.heap[place] = self.heap[child];
            place = child;
        }
        self.heap[place] = node;
    }

    fn pop(&mut self) -> usize {
        let top = self.heap[1];
        self.heap[1] = self.heap[self.heap.len() - 1];
        self.heap.pop();
        self.sink(1);
        top
    }
}

/// The codes themselves, their bits turned round as they are written (section 3.2.2).
pub(super) fn bits(lengths: &[u8]) -> Vec<u32> {
    let mut count = [0_u32; 16];
    lengths.iter().filter(|length| **length > 0).for_each(|length| count[usize::from(*length)] += 1);
    let mut next = [0_u32; 16];
    for length in 1..16 {
        next[length] = (next[length - 1] + count[length - 1]) << 1;
    }
    let mut code = |length: u8| {
        if length == 0 {
            return 0;
        }
        let code = &mut next[usize::from(length)];
        *code += 1;
        (*code - 1).reverse_bits() >> (32 - u32::from(length))
    };
    lengths.iter().map(|length| code(*length)).collect()
}

/// What symbols with these frequencies take: their codes, and the `extra` bits behind each.
pub(super) fn cost(frequencies: &[u32], lengths: &[u8], extra: impl Fn(usize) -> u32) -> u64 {
    let one = |symbol: usize| u64::from(frequencies[symbol]) * (u64::from(lengths[symbol]) + u64::from(extra(symbol)));
    (0..frequencies.len()).map(one).sum()
}

/// Code lengths as runs (section 3.2.7): a symbol of the third alphabet, and its extra bits.
pub(super) fn runs(lengths: &[u8]) -> Vec<(usize, u32, u32)> {
    let mut runs = Vec::new();
    for group in lengths.chunk_by(|a, b| a == b) {
        let length = group[0];
        let mut left = u32::try_from(group.len()).expect("an alphabet has few symbols");
        if length != 0 {
            runs.push((usize::from(length), 0, 0));
            left -= 1;
        }
        while left > 0 {
            let now = left.min(if length == 0 { 138 } else { 6 });
            match (length, now) {
                (_, 1 | 2) => runs.extend((0..now).map(|_| (usize::from(length), 0, 0))),
                (0, 3..=10) => runs.push((17, now - 3, 3)),
                (0, _) => runs.push((18, now - 11, 7)),
                _ => runs.push((16, now - 3, 2)),
            }
            left -= now;
        }
    }
    runs
}
