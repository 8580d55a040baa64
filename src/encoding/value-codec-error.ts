/**
 * A value cannot be encoded or decoded. Internal: the field cipher turns it into an error that names entity
 * and property. The reason names kinds and positions, never the value.
 */
export class ValueCodecError extends Error {
  override readonly name = 'ValueCodecError';
  readonly reason: string;

  constructor(reason: string) {
    super(reason);
    this.reason = reason;
  }
}
