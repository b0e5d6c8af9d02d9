/** Every business "no" the domain can give. */
export type RejectionCode =
  | 'DeviceAlreadyRegistered'
  | 'DeviceNotRegistered'
  | 'DeviceIsSuspended'
  | 'DeviceIsDecommissioned';

/** A command the domain refuses, named by the rule that forbids it. */
export class Rejection extends Error {
  override readonly name = 'Rejection';
  readonly code: RejectionCode;

  constructor(code: RejectionCode, message: string) {
    super(message);
    this.code = code;
  }
}
