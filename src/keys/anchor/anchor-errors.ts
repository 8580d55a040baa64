import { KeyStateError } from '../../errors';

/** For a text that could not be read or written now. */
export function anchorAway(what: 'read' | 'written', cause: unknown): KeyStateError {
  return new KeyStateError(
    `the anchor of the key table cannot be ${what}; see the cause. Until it is, this process cannot know ` +
      'whether older keys were put back.',
    { retryable: true, cause },
  );
}

/** For a text that this process cannot trust. */
export function notAnAnchor(why: string): KeyStateError {
  return new KeyStateError(
    `the anchor of the key table ${why}. Put the anchor and the table back; or, if this table is the right ` +
      'one: field-encryption keys accept-epoch <epoch> --reason "..."',
  );
}
