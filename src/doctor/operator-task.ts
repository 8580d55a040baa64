/** A task for an operator. */
export interface OperatorTask {
  /** The command that does it; `null` if there is none. */
  readonly command: string | null;
  readonly reason: string;
}
