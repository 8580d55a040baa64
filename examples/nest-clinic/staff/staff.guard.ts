import { createParamDecorator, Injectable, UnauthorizedException } from '@nestjs/common';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import type { RequestScope } from 'typeorm-field-encryption/nestjs';

import { StaffService } from './staff.service.js';

interface StaffRequest {
  headers: { authorization?: string };
  tenantId?: string;
}

/** Lets members of staff pass, and notes their tenant in the request. */
@Injectable()
export class StaffGuard implements CanActivate {
  constructor(private readonly staff: StaffService) {}

  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<StaffRequest>();
    const token = request.headers.authorization?.replace('Bearer ', '') ?? '';
    const tenantId = this.staff.tenantOf(token);
    if (tenantId === undefined) throw new UnauthorizedException();
    request.tenantId = tenantId;
    return true;
  }
}

/** The tenant of whoever makes the request; undefined where the guard does not stand. */
export const tenantOf: RequestScope = (context) =>
  context.switchToHttp().getRequest<StaffRequest>().tenantId;

export const TenantId = createParamDecorator((_: unknown, context: ExecutionContext) =>
  tenantOf(context),
);
