import type { RunOptions } from '../../reencryption/report/run-options';
import type { RunProgress, RunReport, WritingMode } from '../../reencryption/report/run-report';

/** What the first process of a group has the others do. */
export interface WorkerOrder {
  readonly mode: WritingMode;
  readonly options: RunOptions;
  /** Ids of runs, in the order of work. */
  readonly runs: readonly string[];
}

/** What processes of a group tell each other. */
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

/** Sends a message, and waits until it is on its way. A process that is no more misses nothing. */
export function tell(end: End, message: Message): Promise<void> {
  return new Promise((resolve) => {
    if (end.send === undefined) resolve();
    else
      end.send({ fieldEncryption: message }, undefined, {}, () => {
        resolve();
      });
  });
}

/** Listens to messages. The application's own modules may use the channel, too. */
export function listen(end: End, take: (message: Message) => void): void {
  end.on('message', (received: unknown) => {
    const { fieldEncryption } = (received ?? {}) as { fieldEncryption?: Message };
    if (fieldEncryption !== undefined) take(fieldEncryption);
  });
}
