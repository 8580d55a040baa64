/**
 * A place outside of the database that remembers how new the key table was: a file, a parameter store,
 * a secret, a tag of the KMS's key. It holds one text, which says no secret: ids of keys, numbers and
 * states, under a MAC of the key that seals the audit log.
 *
 * It is asked for at the start of a process, and written after each change of a key. Anyone who can write
 * to it can put an older text back, or take it away; who can do that **and** write to the database can
 * put older keys back. A text that they make up themselves is refused.
 */
export interface KeyTableAnchor {
  /** The text that was written last; undefined before the first. What it throws is retried. */
  read(): Promise<string | undefined>;
  /**
   * Keeps a text of about 60 characters and 18 for each key of the table.
   *
   * @param state - ASCII letters, digits and `.-_`
   * @param previous - what {@link KeyTableAnchor.read} gave just before. A store that can compare and
   * swap throws where it has another by now; the text is then made anew.
   */
  write(state: string, previous: string | undefined): Promise<void>;
  /** Throws where it could not be read or written now, and changes nothing: for `doctor`. Optional. */
  check?(): Promise<void>;
}
