import { createParamDecorator, Injectable, UnauthorizedException } from '@nestjs/common';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import type { RequestActor, RequestScope } from 'typeorm-field-encryption/nestjs';

import { StaffService } from './staff.service.js';
import type { Session } from './staff.service.js';

interface StaffRequest {
  headers: { authorization?: string };
  session?: Session;
}

/** Lets members of staff pass, and notes in the request who they are. */
@Injectable()
export class StaffGuard implements CanActivate {
  constructor(private readonly staff: StaffService) {}

  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<StaffRequest>();
    const token = request.headers.authorization?.replace('Bearer ', '') ?? '';
    const session = this.staff.sessionOf(token);
    if (session === undefined) throw new UnauthorizedException();
    request.session = session;
    return true;
  }
}

/** The tenant of the member of staff who makes the request; undefined on routes without the guard. */
export const tenantOf: RequestScope = (context) =>
  context.switchToHttp().getRequest<StaffRequest>().session?.tenantId;

/** Who makes the request, for the logs, and among those who approve. */
export const actorOf: RequestActor = (context) => {
  const { session } = context.switchToHttp().getRequest<StaffRequest>();
  return session && { id: session.staffId, requester: session.email, roles: ['staff'] };
};

export const TenantId = createParamDecorator((_: unknown, context: ExecutionContext) =>
  tenantOf(context),
);
