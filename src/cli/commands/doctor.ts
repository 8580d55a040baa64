import type { Finding } from '../../doctor/finding';
import { EXIT_CODES } from '../exit-code';
import type { CommandWork } from '../common-options';
import type { Session } from '../session';

/** Looks for what is wrong or weak, and says what to do. Errors are exit code 1. */
export async function doctor({ fieldEncryption }: Session): ReturnType<CommandWork> {
  const findings = await fieldEncryption.doctor();
  const ok = findings.every(({ level }) => level !== 'error');
  return {
    document: { ok, findings },
    text: findings.map(describe).join('\n'),
    exitCode: ok ? EXIT_CODES.done : EXIT_CODES.failed,
  };
}

function describe({ code, level, message, remedy }: Finding): string {
  const line = `${level.padEnd(7)} ${code}: ${message}`;
  return remedy === '' ? line : `${line}\n        ${remedy}`;
}
