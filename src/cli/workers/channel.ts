import type { RunOptions } from '../../reencryption/report/run-options';
import type { RunProgress, RunReport, WritingMode } from '../../reencryption/report/run-report';

/** The work that the first process of a group gives the others. */
export interface WorkerOrder {
  readonly mode: WritingMode;
  readonly options: RunOptions;
  /** Ids of runs, in the order of work. */
  readonly runs: readonly string[];
}

/** A message between processes of a group. */
export type Message =
  /** From the first process to another. */
  | { readonly kind: 'work'; readonly order: WorkerOrder }
  | { readonly kind: 'stop' }
  /** From another process to the first. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'progress'; readonly progress: RunProgress }
  | { readonly kind: 'report'; readonly report: RunReport };

/** Either end of the channel between two processes of a group. */
interface End {
  on(event: 'message', listener: (message: unknown) => void): unknown;
  send?:
    | ((message: object, handle: undefined, options: object, sent: () => void) => boolean)
    | undefined;
}

/** Sends a message and waits until it is sent; does nothing if the other process is gone. */
export function tell(end: End, message: Message): Promise<void> {
  return new Promise((resolve) => {
    if (end.send === undefined) resolve();
    else
      end.send({ fieldEncryption: message }, undefined, {}, () => {
        resolve();
      });
  });
}

/** Listens for messages, and ignores others: the application's modules may use the channel, too. */
export function listen(end: End, take: (message: Message) => void): void {
  end.on('message', (received: unknown) => {
    const { fieldEncryption } = (received ?? {}) as { fieldEncryption?: Message };
    if (fieldEncryption !== undefined) take(fieldEncryption);
  });
}
