/** The disk of the embedded files; sizes in bytes. */
type DiskRoom = {
  readonly folder: string;
  readonly free: number;
  /** Below it nothing large is begun; below a tenth of it nothing is written. */
  readonly reserve: number;
};

/** What a database file has written and not yet moved to its place. */
export interface WriteAheadLog {
  /** `isHeld`: it grows because a transaction that only reads, such as an analyst's, keeps an older state. */
  state(): { readonly bytes: number; readonly isHeld: boolean };
}

export interface Disk {
  room(): DiskRoom;
}

/** Something about a file or its disk that does not pass by itself: `reason` says what an operator has to do. */
export class StorageFault extends Error {
  override readonly name = 'StorageFault';
  readonly kind: 'full' | 'damaged';
  readonly reason: string;

  constructor(kind: 'full' | 'damaged', reason: string, options?: ErrorOptions) {
    super(reason, options);
    this.kind = kind;
    this.reason = reason;
  }
}

/** The fault at the bottom of an error, which may have come from another thread and lost its class there. */
export function storageFaultOf(error: unknown): Pick<StorageFault, 'kind' | 'reason'> | undefined {
  for (let one = error; one instanceof Error; one = one.cause)
    if (one.name === 'StorageFault') return one as StorageFault;
  return undefined;
}

/** Part of the reserve below which writes stop, so that what is open can still be closed and space be given back. */
const writesStopBelow = 0.1;

/** Throws a `StorageFault` where so little is free that nothing may be written. */
export function assertWritable(disk: Disk): void {
  const { folder, free, reserve } = disk.room();
  const needed = Math.floor(reserve * writesStopBelow);
  if (free < needed)
    throw new StorageFault(
      'full',
      `The disk of ${folder} is full: ${free} bytes are free, writes stop below ${needed}. Free some space, or lower DISK_RESERVE`,
    );
}

/** Throws a `StorageFault` where `needed` bytes would eat into the reserve. */
export function assertRoomFor(disk: Disk, needed: number, doing: string): void {
  const { folder, free, reserve } = disk.room();
  if (free - needed < reserve)
    throw new StorageFault(
      'full',
      `${doing} needs about ${needed} bytes on the disk of ${folder} and ${reserve} must stay free (DISK_RESERVE): ${free} bytes are free. Free some space`,
    );
}
