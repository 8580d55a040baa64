/** A request, or the version of the policy that it became. Anybody who writes to the database may have written it. */
export interface ApprovalRow {
  /** 32 hexadecimal digits: the hash of the document. */
  readonly id: string;
  /** The hash of what all requests of the same work share. */
  readonly subject: string;
  /** The bytes that are signed. */
  readonly document: string;
  /** As `ssh-keygen -Y sign` writes them. */
  readonly signatures: readonly string[];
  /** Who carries it out, or has; `null` while nobody has. */
  readonly usedBy: string | null;
  /** Of the policy; `null` for a request of anything else. */
  readonly version: number | null;
  /** ISO 8601, UTC, by the clock of the database. */
  readonly createdAt: string;
}

/**
 * The port to the table of approvals.
 *
 * @typeParam C - a connection, opaque to the approvals.
 */
export interface ApprovalStore<C = unknown> {
  find(id: string): Promise<ApprovalRow | undefined>;

  /** Returns the newest requests that nobody has carried out, of a subject or of all. */
  open(subject?: string): Promise<ApprovalRow[]>;

  /** Returns the newest requests that somebody carries out, or has. */
  used(): Promise<ApprovalRow[]>;

  /** Returns the versions of the policy in their order; none without the table. */
  policies(connection?: C): Promise<ApprovalRow[]>;

  /**
   * Inserts a row, and records that in the same transaction. Returns false if its id or version is taken. Records
   * nothing by default.
   */
  insert(row: ApprovalRow, record?: (connection: C) => Promise<void>): Promise<boolean>;

  /** Replaces the signatures of a request if it still has those of the row, and records that. */
  sign(
    row: ApprovalRow,
    signed: readonly string[],
    record: (connection: C) => Promise<void>,
  ): Promise<boolean>;

  /**
   * Marks a request as carried out, within a transaction, and perhaps as a version of the policy. Returns
   * `'own'` if the same operation has marked it before, and false if another has.
   */
  take(
    id: string,
    by: { readonly usedBy: string; readonly version: number | null },
    connection: C,
  ): Promise<'taken' | 'own' | false>;
}
