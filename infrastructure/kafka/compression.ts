import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import kafkajs from 'kafkajs';

export type Compression = 'none' | 'gzip' | 'zstd';

const { CompressionCodecs, CompressionTypes } = kafkajs;

/** Readings shrink as much as at higher levels. */
const options = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/**
 * kafkajs knows the number of zstd but leaves the codec to its users; Node's own is all it takes. On this thread:
 * a batch is done within a tenth of a millisecond or two, and another thread costs more than it takes over.
 */
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder: { buffer: Buffer }) => zstdCompressSync(encoder.buffer, options),
  decompress: async (buffer: Buffer) => zstdDecompressSync(buffer),
});

export const compressionTypes: Readonly<Record<Compression, number>> = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  zstd: CompressionTypes.ZSTD,
};
