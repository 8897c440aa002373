// What a gather between GPUs costs at least: every rank stores its rows into all ranks' buffers, and blocks of one number tell
// each other by flags. RANKS is defined by who compiles it.

struct Places {
    unsigned long long of[RANKS];
};

typedef unsigned int word;

// Each block raises its flag at every rank, and waits for those of all ranks.
__device__ void meet(const Places& flags, int rank, word epoch) {
    __syncthreads();
    if (threadIdx.x < RANKS) {
        word* theirs = (word*)flags.of[threadIdx.x] + rank * gridDim.x + blockIdx.x;
        asm volatile("fence.acq_rel.sys; st.relaxed.sys.global.u32 [%0], %1;" ::"l"(theirs), "r"(epoch) : "memory");
        const word* own = (const word*)flags.of[rank] + threadIdx.x * gridDim.x + blockIdx.x;
        word seen;
        do {
            asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(seen) : "l"(own) : "memory");
        } while ((int)(seen - epoch) < 0);
    }
    __syncthreads();
}

// The epoch is counted where a replayed graph goes on counting.
__device__ word next(word* epochs) {
    word now = epochs[blockIdx.x] + 1;
    __syncthreads();
    if (threadIdx.x == 0) epochs[blockIdx.x] = now;
    return now;
}

// `units` of 16 bytes from `start` on, of halves that are `half` units apart.
extern "C" __global__ void __launch_bounds__(512)
    gather(Places rows, Places flags, const uint4* src, long long units, long long start, long long half, word* epochs, int rank) {
    const word epoch = next(epochs);
    const long long first = start + (epoch & 1) * half, step = (long long)gridDim.x * blockDim.x;
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < units; at += 4 * step) {
        uint4 some[4];
        #pragma unroll
        for (int i = 0; i < 4; ++i)
            if (at + i * step < units) some[i] = src[at + i * step];
        #pragma unroll
        for (int peer = 0; peer < RANKS; ++peer) {
            uint4* out = (uint4*)rows.of[(rank + peer) % RANKS] + first;
            #pragma unroll
            for (int i = 0; i < 4; ++i)
                if (at + i * step < units) out[at + i * step] = some[i];
        }
    }
    meet(flags, rank, epoch);
}

// One block, for which all ranks begin together what comes behind: it waits until who came last has asked for that too.
extern "C" __global__ void gate(Places flags, unsigned long long ns, word* epochs, int rank) {
    const word epoch = next(epochs);
    unsigned long long begin, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
    do {
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while (now - begin < ns);
    meet(flags, rank, epoch);
}
