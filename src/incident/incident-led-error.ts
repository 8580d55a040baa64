import { KeyStateError } from '../errors';

/** Another process leads the response to the incident. It goes on; or, once that has ended, try again. */
export class IncidentLedError extends KeyStateError {
  /** Who leads, as the audit log names them; `null` for one who has only just begun. */
  readonly actor: string | null;
  /** Host and process. */
  readonly process: string;
  /** When the lead ends unless it is renewed, by the clock of the database. */
  readonly until: Date;

  constructor(message: string, leader: Pick<IncidentLedError, 'actor' | 'process' | 'until'>) {
    super(message, { retryable: true });
    this.actor = leader.actor;
    this.process = leader.process;
    this.until = leader.until;
  }
}
