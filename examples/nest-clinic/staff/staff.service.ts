import { randomBytes, randomUUID, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { Injectable, UnauthorizedException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';

import { Staff } from './staff.entity.js';

const stretch = promisify(scrypt) as (password: string, salt: string, n: number) => Promise<Buffer>;

/** Who is logged in, and the clinic they work at. */
export interface Session {
  readonly staffId: string;
  readonly email: string;
  readonly tenantId: string;
}

@Injectable()
export class StaffService {
  /** By session token. A real application keeps sessions where all its processes see them. */
  readonly #sessions = new Map<string, Session>();

  constructor(@InjectRepository(Staff) private readonly staff: Repository<Staff>) {}

  /** Opens a clinic, the tenant, with its first member of staff. */
  async signUp(email: string, password: string): Promise<void> {
    const passwordHash = await hash(password, randomBytes(16).toString('hex'));
    await this.staff.insert({ tenantId: randomUUID(), email, passwordHash });
  }

  /** Looks the address up through its blind index, in whatever case it was typed. */
  async logIn(email: string, password: string): Promise<{ token: string }> {
    const found = await this.staff.findOneBy({ email });
    if (found === null || !(await matches(password, found.passwordHash))) {
      throw new UnauthorizedException();
    }
    const token = randomUUID();
    const { id: staffId, tenantId } = found;
    this.#sessions.set(token, { staffId, tenantId, email: found.email });
    return { token };
  }

  sessionOf(token: string): Session | undefined {
    return this.#sessions.get(token);
  }
}

async function hash(password: string, salt: string): Promise<string> {
  return `${salt}:${(await stretch(password, salt, 32)).toString('hex')}`;
}

async function matches(password: string, stored: string): Promise<boolean> {
  const [salt = ''] = stored.split(':');
  return timingSafeEqual(Buffer.from(await hash(password, salt)), Buffer.from(stored));
}
